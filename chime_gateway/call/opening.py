"""
Connects a new call to its agent: opens a line, then dials an outbound call or waits
until an inbound caller's media is connected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chime_gateway.errors import AgentUnavailable, NoRoom
from chime_gateway.interfaces import AgentLine, ArrivingLeg, CallLeg, OutboundLeg
from chime_gateway.outcomes import Outcome


class Opening:
    """
    @param open_line: starts opening the line.
    @param leg: the caller's leg.  If it arrives later, the agent waits for it.
    @param outbound: the leg to dial once the line is open; the agent waits while it
        rings.
    @param hears_apology: without an agent, still wait until the caller can hear the
        apology.
    @param waiting: called with a line that waits for the caller.
    @param ready: called with the line once both sides are ready.
    @param unavailable: called with the outcome and the reason if there is no agent.
    @param bug: called with an exception that is a bug.
    """

    def __init__(
        self,
        open_line: Callable[[], Deferred[AgentLine]],
        leg: CallLeg,
        outbound: OutboundLeg | None,
        hears_apology: bool,
        *,
        waiting: Callable[[AgentLine], None],
        ready: Callable[[AgentLine], None],
        unavailable: Callable[[Outcome, str], None],
        bug: Callable[[Failure], None],
    ) -> None:
        self._unavailable = unavailable
        opening = open_line()
        if outbound is not None or leg.traits.arrives_later:
            reach = cast(ArrivingLeg, leg).arrive if outbound is None else outbound.dial

            def wait(agent: AgentLine) -> Deferred[AgentLine]:
                waiting(agent)
                return reach().addCallback(lambda _: agent)

            def wait_to_apologise(failure: Failure) -> Deferred[AgentLine]:
                failure.trap(AgentUnavailable)
                return reach().addCallback(lambda _: failure)

            opening.addCallback(wait)
            if hears_apology:
                opening.addErrback(wait_to_apologise)

        def joined(agent: AgentLine) -> None:
            try:
                ready(agent)
            except Exception:
                # The call may not own it yet, and so would not close it.
                agent.close()
                raise

        self._waiting: Deferred[None] | None = opening.addCallbacks(
            joined, self._failed
        )
        self._waiting.addErrback(bug)

    def give_up(self) -> None:
        """Cancel the opening, unless it is already over."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            failure.trap(AgentUnavailable)
            is_full = failure.check(NoRoom)
            outcome = Outcome.REFUSED if is_full else Outcome.AGENT_UNAVAILABLE
            self._unavailable(outcome, failure.getErrorMessage())
