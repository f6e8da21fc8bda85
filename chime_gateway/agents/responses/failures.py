"""
Failed responses of one session: they wait to be repeated, or are reported.

L{chime_gateway.agents.responses.retries} decides how often and when.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

from chime_gateway.agents.responses.retries import Fault, Retries
from chime_gateway.agents.responses.wanted import Wanted, WantedQueue
from chime_gateway.interfaces import SILENCE, AgentEvents

#: Characters of what a service says of a failure.
_MOST_REASON: Final = 300


class Failures:
    """
    @param queue: where it waits.
    @ivar is_closed: nobody wants to know any more.
    """

    __slots__ = ("_clock", "_events", "_queue", "_retries", "is_closed")

    def __init__(
        self, events: AgentEvents, queue: WantedQueue, clock: IReactorTime
    ) -> None:
        self.is_closed = False
        self._events = events
        self._queue = queue
        self._clock = clock
        self._retries = Retries()

    def went_well(self) -> None:
        """Something was said or done."""
        self._retries.went_well()

    def came_to_nothing(self, wanted: Wanted, fault: Fault) -> Fault | None:
        """
        It is asked for again, if that is of any use.

        @return: what is to be reported.
        """
        self._events.oddity_seen(f"came_to_nothing.{fault.cause}")
        pause = self._retries.failed(wanted, fault)
        if wanted.is_moot:
            return None
        if pause is None:
            return self.gave_up(wanted, fault)
        self._events.oddity_seen(f"asked_again.{wanted.sort.name.lower()}")
        self._queue.put_back(wanted, self._clock.seconds() + pause)
        self._events.answer_delayed(pause)
        return None

    def gave_up(self, wanted: Wanted, fault: Fault) -> Fault:
        """Give it up: it is not asked for again."""
        if fault.cause != SILENCE:
            self._events.oddity_seen(f"unspoken.{wanted.sort.name.lower()}")
        return fault

    def report(self, fault: Fault | None) -> None:
        """Last, as whoever is told may go to another session at once."""
        if fault is None or self.is_closed:
            return
        cause = self._retries.given_up(fault.cause)
        seconds = fault.retry_seconds or 0.0
        self._events.answer_failed(cause, fault.reason[:_MOST_REASON], seconds)
