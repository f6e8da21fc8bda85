"""Calls that are observed in place of the agent."""

from __future__ import annotations

from typing import Any

from chime_gateway.interfaces import CallLeg, LegEvents
from chime_gateway.outcomes import Ending, Outcome
from tests.support.sip_peer import Switchboard

OVER = Ending(Outcome.COMPLETED, "over")


class CountedCall:
    """What a leg reports to; its end may be reported only once."""

    def __init__(self, leg: CallLeg) -> None:
        self.leg = leg
        self.ends = 0
        self.is_hung_up = False

    def leg_ended(self, ending: Ending) -> None:
        self.ends += 1

    def hang_up(self) -> None:
        self.is_hung_up = True
        self.leg.hang_up(OVER)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_: None


class CountingSwitchboard(Switchboard):
    """
    A switchboard that takes every call.

    @ivar counted: all calls, in the order in which they came.
    """

    def __init__(self, log: Any, counted: list[CountedCall] | None = None) -> None:
        super().__init__(log)
        self.counted = [] if counted is None else counted

    def incoming(self, leg: CallLeg) -> LegEvents:
        super().incoming(leg)
        self.counted.append(CountedCall(leg))
        return self.counted[-1]
