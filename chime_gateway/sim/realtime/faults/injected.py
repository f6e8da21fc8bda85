"""Applies the scheduled faults of one session."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from chime_gateway.sim.realtime.behaviour import SessionLog
from chime_gateway.sim.realtime.events import ServerEvents
from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.faults.schedule import (
    Close,
    Drop,
    Expire,
    Fault,
    Freeze,
    Moment,
    Mute,
    Refuse,
    Reset,
    Respond,
    Scheduled,
    Stage,
    Stall,
    Unsolicited,
)


class Injected:
    """
    The scheduled and the active faults.

    @param end: applies a fault that ends or mutes the session.
    """

    def __init__(
        self,
        scheduled: Sequence[Scheduled],
        events: ServerEvents,
        log: SessionLog,
        end: Callable[[Drop | Reset | Close | Freeze | Mute | Expire], None],
    ) -> None:
        self._waiting = list(scheduled)
        self._events = events
        self._log = log
        self._end = end
        self._stalled: dict[Stage, float] = {}
        self._responses: list[tuple[ResponseFault, int]] = []
        self._refusals: list[tuple[CommandFault, int]] = []

    def start(self) -> None:
        """Begin the schedule: the session is open."""
        self.reached(Moment.TIME, 0)

    def reached(self, moment: Moment, number: int) -> None:
        """Begin the faults that wait for this moment, at once or after their delay."""
        due = [
            one
            for one in self._waiting
            if one.when.moment is moment and one.when.number == number
        ]
        for one in due:
            self._waiting.remove(one)
            if one.when.after_seconds > 0.0:
                self._events.later(one.when.after_seconds, self._begin, one)
            else:
                self._begin(one)

    def _begin(self, scheduled: Scheduled) -> None:
        fault: Fault = scheduled.fault
        now = self._events.seconds()
        self._log.note(now, "fault", fault=scheduled.name)
        if isinstance(fault, Stall):
            self._stalled[fault.stage] = now + fault.seconds
        elif isinstance(fault, Respond):
            self._responses.append((fault.fault, fault.times or -1))
        elif isinstance(fault, Refuse):
            self._refusals.append((fault.fault, fault.times or -1))
        elif isinstance(fault, Unsolicited):
            self._events.refuse(fault.error.refused(), None)
        else:
            self._end(fault)

    def wait(self, stage: Stage) -> float:
        """Return how many seconds the service stalls at a stage; may be infinite."""
        until = self._stalled.get(stage, -math.inf)
        return max(0.0, until - self._events.seconds())

    def response(self) -> ResponseFault | None:
        """Return the fault of the response that begins now, if any."""
        if not self._responses:
            return None
        fault, left = self._responses[0]
        if left == 1:
            del self._responses[0]
        else:
            self._responses[0] = fault, left - 1
        return fault

    def refusal(self, command: str) -> CommandFault | None:
        """Return the fault that refuses this command, if any."""
        for index, (fault, left) in enumerate(self._refusals):
            if fault.command == command:
                if left == 1:
                    del self._refusals[index]
                else:
                    self._refusals[index] = fault, left - 1
                return fault
        return None
