"""One side of ICE; the test is the other side."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.candidate import Credentials, Path, priority
from chime_gateway.wire.webrtc.ice import IceAgent, IceState
from chime_gateway.wire.webrtc.stun import (
    Message,
    MessageClass,
    decode,
    encode,
)

OURS = Credentials("ours", "o" * 22)
THEIRS = Credentials("Th/+", "t" * 24)
HOST = priority("host")
PATH = Path("udp", "203.0.113.7", 3478)
OTHER = Path("udp", "203.0.113.8", 3478)
TCP = Path("tcp", "203.0.113.7", 443, is_tcp=True)


class IceTestCase(SynchronousTestCase):
    """
    One ICE agent; the test is its peer.

    @ivar now: the agent's time.
    """

    def setUp(self) -> None:
        self.now = 100.0
        self.numbers = itertools.count(1)
        self.random = random.Random(7)

    def agent(
        self,
        *,
        is_controlling: bool = True,
        is_lite: bool = False,
        tie_breaker: int = 1000,
    ) -> IceAgent:
        return IceAgent(
            OURS,
            is_controlling=is_controlling,
            is_lite=is_lite,
            tie_breaker=tie_breaker,
            new_transaction=lambda: self.random.randbytes(12),
        )

    def meet(self, agent: IceAgent, *paths: Path, is_lite: bool = False) -> IceAgent:
        agent.set_remote(
            self.now,
            THEIRS,
            [(path, HOST - number) for number, path in enumerate(paths or (PATH,))],
            is_lite=is_lite,
        )
        return agent

    def connected(self, *, is_controlling: bool = True) -> IceAgent:
        agent = self.meet(self.agent(is_controlling=is_controlling))
        self.answer_all(agent)
        if is_controlling:
            self.answer_all(agent)
        else:
            self.ask(agent, use_candidate=True, controlling=1)
            agent.outbox.clear()
        self.assertIs(agent.state, IceState.CONNECTED)
        return agent

    def taken(self, agent: IceAgent) -> list[tuple[Path, Message]]:
        """Return what it sends, after checking that all of it is signed correctly."""
        found = []
        for path, data in agent.outbox:
            message = decode(data)
            is_request = message.message_class is MessageClass.REQUEST
            password = THEIRS.password if is_request else OURS.password
            self.assertTrue(message.is_signed_by(password))
            found.append((path, message))
        agent.outbox.clear()
        return found

    def requests(self, agent: IceAgent) -> list[tuple[Path, Message]]:
        return [
            (path, message)
            for path, message in self.taken(agent)
            if message.message_class is MessageClass.REQUEST
        ]

    def answer_all(self, agent: IceAgent) -> None:
        for path, message in self.requests(agent):
            self.answer(agent, path, message)

    def answer(self, agent: IceAgent, path: Path, request: Message) -> None:
        answer = request.success(("192.0.2.1", 4000))
        agent.received(self.now, encode(answer, THEIRS.password), path)

    def ask(
        self,
        agent: IceAgent,
        path: Path = PATH,
        password: str = OURS.password,
        username: str = "ours:Th/+",
        *,
        use_candidate: bool = False,
        controlling: int | None = None,
        controlled: int | None = None,
    ) -> None:
        request = Message(
            message_class=MessageClass.REQUEST,
            transaction=next(self.numbers).to_bytes(12, "big"),
            username=username,
            priority=priority("prflx"),
            use_candidate=use_candidate,
            controlling=controlling,
            controlled=controlled,
        )
        agent.received(self.now, encode(request, password), path)

    def run_to(
        self, agent: IceAgent, until: float, do: Callable[[], object] = lambda: None
    ) -> None:
        """@param do: called after each step of the agent."""
        for turns in itertools.count():
            if agent.due is None or agent.due > until:
                break
            self.assertLess(turns, 5000, "it is woken for nothing")
            self.now = max(self.now, agent.due)
            agent.tick(self.now)
            do()
        self.now = until
