"""
Handles the failed responses of one session: repeats or reports them.

L{chime_gateway.agents.responses.retries} decides how often and when.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

from chime_gateway.agents.responses.request_queue import RequestQueue, ResponseRequest
from chime_gateway.agents.responses.retries import Fault, Retries
from chime_gateway.interfaces import SILENCE, AgentEvents

#: Maximum length of a service's text about a failure.
_MOST_REASON: Final = 300


class Failures:
    """
    The failed responses of one session.

    @param queue: where requests wait to be repeated.
    @ivar is_closed: nothing is reported any more.
    """

    __slots__ = ("_clock", "_events", "_queue", "_retries", "is_closed")

    def __init__(
        self, events: AgentEvents, queue: RequestQueue, clock: IReactorTime
    ) -> None:
        self.is_closed = False
        self._events = events
        self._queue = queue
        self._clock = clock
        self._retries = Retries()

    def succeeded(self) -> None:
        """A response has succeeded: it spoke or called a tool."""
        self._retries.succeeded()

    def failed(self, request: ResponseRequest, fault: Fault) -> Fault | None:
        """
        A response has failed: repeat the request, if that is of any use.

        @return: the fault to report, if any.
        """
        self._events.oddity_seen(f"came_to_nothing.{fault.cause}")
        pause = self._retries.failed(request, fault)
        if request.is_moot:
            return None
        if pause is None:
            return self.give_up(request, fault)
        self._events.oddity_seen(f"asked_again.{request.sort.name.lower()}")
        self._queue.put_back(request, self._clock.seconds() + pause)
        self._events.answer_delayed(pause)
        return None

    def give_up(self, request: ResponseRequest, fault: Fault) -> Fault:
        """Give a request up: it is not repeated."""
        if fault.cause != SILENCE:
            self._events.oddity_seen(f"unspoken.{request.sort.name.lower()}")
        return fault

    def report(self, fault: Fault | None) -> None:
        """Report a fault.  Called last, as the line may change to another session."""
        if fault is None or self.is_closed:
            return
        cause = self._retries.given_up(fault.cause)
        seconds = fault.retry_seconds or 0.0
        self._events.answer_failed(cause, fault.reason[:_MOST_REASON], seconds)
