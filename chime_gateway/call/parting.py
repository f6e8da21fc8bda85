"""
Ends a call politely, and releases what it holds.

The agent says goodbye.  Without an agent, the caller hears an apology and is
transferred to the fallback.  The call ends once the last words have been heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from chime_gateway.call.reports.record import CallRecord
from chime_gateway.interfaces import CallLeg
from chime_gateway.outcomes import Ending
from chime_gateway.release import Release
from chime_gateway.settings.agent_profile import AgentProfile

_Owner = TypeVar("_Owner")


class Parting:
    """
    @ivar farewell: what the agent is told to say.
    @ivar ending: how the call will have ended.
    @ivar owed: what the caller is owed before the end, in turn, each when all that was
        said before is heard.
    """

    def __init__(self, farewell: str) -> None:
        self.farewell = farewell
        self.ending: Ending | None = None
        self.owed: tuple[Callable[[], None], ...] = ()
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

    def take_owed(self) -> Callable[[], None] | None:
        """What is next, once; C{None}: nothing."""
        first, self.owed = self.owed[:1], self.owed[1:]
        return first[0] if first else None

    def take_heard(self, now: float, is_drained: Callable[[float], bool]) -> bool:
        """All was heard, or it took too long; told once."""
        if self._heard_by is None or not (now >= self._heard_by or is_drained(now)):
            return False
        self._heard_by = None
        return True


def is_told(record: CallRecord, profile: AgentProfile, leg: CallLeg) -> bool:
    """Whether the caller hears an apology when nobody can talk with him."""
    is_ours = record.direction == "outbound"
    is_answered = record.answered_seconds is not None
    # Who is still being called hears nothing, and who was not answered yet may be
    # served by somebody else.
    can_hear = is_answered or not (is_ours or leg.traits.fails_over)
    return can_hear and bool(profile.apology)


class CallRelease(Release[_Owner]):
    """Of all that a call has."""

    def by(
        self,
        tell: Callable[[Ending], object],
        end: Callable[[Ending, bool], object],
        ending: Ending,
        hang_up_leg: bool,
    ) -> None:
        """
        Have it done by telling somebody, and surely.

        @param end: does it, should they not.
        """
        try:
            tell(ending)
        finally:
            if not self.is_done:
                end(ending, hang_up_leg)
