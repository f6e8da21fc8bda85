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
    @ivar ending: how the call will end; C{None}: it is not ending.
    @ivar owed: steps that are left before the end, in order.  Each runs once the caller
        has heard everything before it.
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
        @param by: the time by which the agent's last words must be over.
        """
        self.ending = ending
        self._goodbye_by = by

    def is_goodbye_overdue(self, now: float) -> bool:
        return self._goodbye_by is not None and now >= self._goodbye_by

    def play_out(self, ending: Ending | None, by: float) -> None:
        """
        @param ending: C{None}: the one given before is kept.
        @param by: the time after which unheard audio is no longer waited for.
        """
        self.ending = ending or self.ending
        self._goodbye_by = None
        self._heard_by = by

    def take_owed(self) -> Callable[[], None] | None:
        """Remove and return the next step; C{None}: there is none."""
        first, self.owed = self.owed[:1], self.owed[1:]
        return first[0] if first else None

    def take_heard(self, now: float, is_drained: Callable[[float], bool]) -> bool:
        """Return whether everything was heard, or took too long; true only once."""
        if self._heard_by is None or not (now >= self._heard_by or is_drained(now)):
            return False
        self._heard_by = None
        return True


def hears_apology(record: CallRecord, profile: AgentProfile, leg: CallLeg) -> bool:
    """Return whether the caller hears an apology if no agent is available."""
    is_outbound = record.direction == "outbound"
    is_answered = record.answered_seconds is not None
    # An outbound call that still rings has no listener, and an inbound call that is
    # refused before its answer may be served by another gateway.
    can_hear = is_answered or not (is_outbound or leg.traits.fails_over)
    return can_hear and bool(profile.apology)


class CallRelease(Release[_Owner]):
    """Releases everything that a call holds."""

    def by(
        self,
        tell: Callable[[Ending], object],
        end: Callable[[Ending, bool], object],
        ending: Ending,
        hang_up_leg: bool,
    ) -> None:
        """
        End the call through C{tell}, and make sure that it is released.

        @param end: ends the call if C{tell} did not.
        """
        try:
            tell(ending)
        finally:
            if not self.is_done:
                end(ending, hang_up_leg)
