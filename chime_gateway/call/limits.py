"""
What ends a call by itself: a caller of whom nothing comes, its length, and the end of
its agent's session.

What is done then is the call's decision.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.interfaces import AgentTraits
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import Limits

#: The goodbye is over so long before the session is: the service's clock is not ours,
#: and it may end a session somewhat early.
_SESSION_SLACK_SECONDS: Final = 10.0

#: A session that is said to last for longer is the word of a wrong clock.
_MOST_SESSION_SECONDS: Final = 86_400.0


def idle_ending(limits: Limits, idle_seconds: float) -> Ending | None:
    """
    @param idle_seconds: how long nothing came from the caller's side.
    """
    if idle_seconds < limits.idle_seconds:
        return None
    reason = f"no audio from the caller for {limits.idle_seconds:g} s"
    return Ending(Outcome.IDLE, reason)


class TimeLimit:
    """
    When a call has to say goodbye: at its own limit, and before its agent's session
    is at its end, as nobody could say it after that.

    All seconds but those of the wall clock count from the start of the call.

    @param started_at: when the call did; Unix seconds.
    """

    def __init__(self, limits: Limits, started_at: float) -> None:
        self._limits = limits
        self._started_at = started_at
        self._session_ends: float | None = None
        self._session_over_at: float | None = None

    def joined(self, traits: AgentTraits, at: float) -> None:
        """There is a session."""
        ends = self._end_of(traits, at)
        self._session_ends = ends
        if ends is None:
            self._session_over_at = None
            return
        lead = self._limits.goodbye_seconds + _SESSION_SLACK_SECONDS
        # A session that is short is not all goodbye.
        self._session_over_at = ends - min(lead, max(0.0, ends - at) / 2)

    def _end_of(self, traits: AgentTraits, at: float) -> float | None:
        if traits.expires_at is not None:
            ends = traits.expires_at - self._started_at
            if at < ends < at + _MOST_SESSION_SECONDS:
                return ends
            # One of the clocks is wrong.
        # It was not opened before the call began.
        return traits.most_seconds

    def ending(self, seconds: float) -> Ending | None:
        """
        @param seconds: how long the call has lasted.
        """
        most = self._limits.max_call_seconds
        if seconds >= most:
            reason = f"the call reached its limit of {most:g} s"
        elif self._session_over_at is not None and seconds >= self._session_over_at:
            reason = f"the agent's session ends after {self._session_ends:.0f} s"
        else:
            return None
        return Ending(Outcome.TIME_LIMIT, reason)
