"""
How a call comes to its agent: a line is opened, and somebody is dialled then if the
call is ours.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from chime_gateway.errors import AgentUnavailable, NoRoom
from chime_gateway.interfaces import AgentLine, OutboundLeg
from chime_gateway.outcomes import Outcome


class Opening:
    """
    @param open_session: begins to open it.
    @param outbound: whom to call once it is there; the agent waits while it rings.
    @param dialling: told of the session that waits.
    @param ready: told of the session when both sides are there.
    @param unavailable: told how the call ends as there is none, and why.
    """

    def __init__(
        self,
        open_session: Callable[[], Deferred[AgentLine]],
        outbound: OutboundLeg | None,
        *,
        dialling: Callable[[AgentLine], None],
        ready: Callable[[AgentLine], None],
        unavailable: Callable[[Outcome, str], None],
        bug: Callable[[Failure], None],
    ) -> None:
        self._unavailable = unavailable
        session = open_session()
        if outbound is not None:

            def dial(agent: AgentLine) -> Deferred[AgentLine]:
                dialling(agent)
                return outbound.dial().addCallback(lambda _: agent)

            session.addCallback(dial)

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
