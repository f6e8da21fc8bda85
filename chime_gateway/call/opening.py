"""
Connects a new call to its agent: opens a line, and then dials an outbound call, or
waits for the caller of an inbound one.
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
    @param open_session: begins to open it.
    @param outbound: whom to call once it is there; the agent waits while it rings.
    @param leg: of the caller.  Somebody who is on his way is waited for by his agent.
    @param is_told: and by the news that there is none: he is told it.
    @param waiting: told of the session that waits.
    @param ready: told of the session when both sides are there.
    @param unavailable: told how the call ends as there is none, and why.
    """

    def __init__(
        self,
        open_session: Callable[[], Deferred[AgentLine]],
        leg: CallLeg,
        outbound: OutboundLeg | None,
        is_told: bool,
        *,
        waiting: Callable[[AgentLine], None],
        ready: Callable[[AgentLine], None],
        unavailable: Callable[[Outcome, str], None],
        bug: Callable[[Failure], None],
    ) -> None:
        self._unavailable = unavailable
        session = open_session()
        if outbound is not None or leg.traits.arrives_later:
            reach = cast(ArrivingLeg, leg).arrive if outbound is None else outbound.dial

            def wait(agent: AgentLine) -> Deferred[AgentLine]:
                waiting(agent)
                return reach().addCallback(lambda _: agent)

            def wait_to_tell(failure: Failure) -> Deferred[AgentLine]:
                failure.trap(AgentUnavailable)
                return reach().addCallback(lambda _: failure)

            session.addCallback(wait)
            if is_told:
                session.addErrback(wait_to_tell)

        def joined(agent: AgentLine) -> None:
            try:
                ready(agent)
            except Exception:
                # Perhaps nobody has it yet who would close it.
                agent.close()
                raise

        self._waiting: Deferred[None] | None = session.addCallbacks(
            joined, self._failed
        )
        self._waiting.addErrback(bug)

    def give_up(self) -> None:
        """Nobody waits for it any more; it may be over."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            failure.trap(AgentUnavailable)
            is_full = failure.check(NoRoom)
            outcome = Outcome.REFUSED if is_full else Outcome.AGENT_UNAVAILABLE
            self._unavailable(outcome, failure.getErrorMessage())
