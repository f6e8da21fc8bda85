"""
How a call ends politely: the agent says goodbye, and what was said is heard.

When that begins, and what comes after it, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.outcomes import Ending


class Parting:
    """
    @ivar farewell: what the agent is told to say.
    @ivar ending: how the call will have ended.
    """

    def __init__(self, farewell: str) -> None:
        self.farewell = farewell
        self.ending: Ending | None = None
        self._goodbye_by: float | None = None
        self._heard_by: float | None = None

    @property
    def has_begun(self) -> bool:
        """The call is ending."""
        return self.ending is not None

    @property
    def is_saying_goodbye(self) -> bool:
        return self._goodbye_by is not None

    def say_goodbye(self, ending: Ending, by: float) -> None:
        """
        @param by: the agent has no longer for its last words.
        """
        self.ending = ending
        self._goodbye_by = by

    def is_goodbye_overdue(self, now: float) -> bool:
        return self._goodbye_by is not None and now >= self._goodbye_by

    def play_out(self, ending: Ending | None, by: float) -> None:
        """
        @param ending: C{None}: the one that is known already.
        @param by: what is not heard by then is not waited for.
        """
        self.ending = ending or self.ending
        self._goodbye_by = None
        self._heard_by = by

    def take_heard(self, now: float, is_drained: Callable[[float], bool]) -> bool:
        """All was heard, or it took too long; told once."""
        if self._heard_by is None or not (now >= self._heard_by or is_drained(now)):
            return False
        self._heard_by = None
        return True
