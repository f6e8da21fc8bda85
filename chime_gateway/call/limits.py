"""
What ends a call by itself: a caller of whom nothing comes, its length, an agent that
owes an answer.

What is done then is the call's decision.
"""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import Limits


class OwedAnswer:
    """
    Whether the agent owes the caller something, and until when.

    @param clock: seconds, monotonic.
    @param seconds: after which an agent that gives no sign is given up.
    """

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        self._due_at: float | None = None

    def expect(self) -> None:
        """From now on, or anew."""
        self._due_at = self._clock() + self.seconds

    def sign_of_life(self) -> None:
        """It is on its way: whoever waits, waits on."""
        if self._due_at is not None:
            self.expect()

    def settle(self) -> None:
        """Nothing is owed."""
        self._due_at = None

    def is_overdue(self, now: float) -> bool:
        return self._due_at is not None and now >= self._due_at


def idle_ending(limits: Limits, idle_seconds: float) -> Ending | None:
    """
    @param idle_seconds: how long nothing came from the caller's side.
    """
    if idle_seconds < limits.idle_seconds:
        return None
    reason = f"no audio from the caller for {limits.idle_seconds:g} s"
    return Ending(Outcome.IDLE, reason)


def time_ending(limits: Limits, seconds: float) -> Ending | None:
    """
    @param seconds: how long the call has lasted.
    """
    if seconds < limits.max_call_seconds:
        return None
    reason = f"the call reached its limit of {limits.max_call_seconds:g} s"
    return Ending(Outcome.TIME_LIMIT, reason)
