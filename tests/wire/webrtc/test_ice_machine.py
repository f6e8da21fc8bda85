"""ICE of one call, with random events in any order."""

from __future__ import annotations

import random
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.webrtc.candidate import Path
from chime_gateway.wire.webrtc.checklist import MOST_CHECKS
from chime_gateway.wire.webrtc.ice import IceAgent, IceState
from chime_gateway.wire.webrtc.stun import (
    ROLE_CONFLICT,
    Message,
    MessageClass,
    decode,
    encode,
)

from ...support.ice_side import OURS, THEIRS

PATHS = st.builds(
    Path,
    local=st.sampled_from(("udp", "tcp")),
    host=st.sampled_from(("203.0.113.7", "203.0.113.8")),
    port=st.integers(1, 40),
    is_tcp=st.booleans(),
)
LEVELS = st.integers(1, 2**31 - 1)
DESCRIPTIONS = st.tuples(st.lists(st.tuples(PATHS, LEVELS), max_size=30), st.booleans())


class IceMachine(RuleBasedStateMachine):
    """
    The peer checks, answers and refuses, in time or late, from any address; its
    connections come and go; time passes or the process is stopped.  A failure is final,
    the peer was heard on the selected path, and no timer fires without need.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 10.0
        self.chance = random.Random(5)
        self.sent: list[tuple[Path, Message]] = []
        self.heard: set[Path] = set()
        self.has_failed = False

    @initialize(
        is_controlling=st.booleans(),
        is_lite=st.booleans(),
        answer=st.none() | DESCRIPTIONS,
    )
    def begin(
        self,
        is_controlling: bool,
        is_lite: bool,
        answer: tuple[list[tuple[Path, int]], bool] | None,
    ) -> None:
        self.agent = IceAgent(
            OURS,
            is_controlling=is_controlling,
            is_lite=is_lite,
            tie_breaker=2**40,
            new_transaction=lambda: self.chance.randbytes(12),
        )
        if answer is not None:
            self.meet(answer)

    @precondition(lambda self: self.agent.state is IceState.NEW)
    @rule(answer=DESCRIPTIONS)
    def meet(self, answer: tuple[list[tuple[Path, int]], bool]) -> None:
        paths, is_lite = answer
        self.agent.set_remote(self.now, THEIRS, paths, is_lite=is_lite)

    @rule(path=PATHS, level=LEVELS)
    def connect(self, path: Path, level: int) -> None:
        self.agent.add_path(self.now, path, level)

    @rule(path=PATHS, is_selected=st.booleans())
    def disconnect(self, path: Path, is_selected: bool) -> None:
        selected = self.agent.selected
        self.agent.remove_path(
            self.now, selected if is_selected and selected is not None else path
        )

    @rule(
        path=PATHS,
        nominates=st.booleans(),
        role=st.sampled_from(("controlling", "controlled", "")),
        number=st.sampled_from((0, 2**40, 2**50)),
        level=st.none() | LEVELS,
        is_signed=st.booleans(),
    )
    def ask(
        self,
        path: Path,
        nominates: bool,
        role: str,
        number: int,
        level: int | None,
        is_signed: bool,
    ) -> None:
        request = Message(
            message_class=MessageClass.REQUEST,
            transaction=self.chance.randbytes(12),
            username="ours:Th/+",
            priority=level,
            use_candidate=nominates,
        )
        if role == "controlling":
            request = evolve(request, controlling=number)
        elif role:
            request = evolve(request, controlled=number)
        password = OURS.password if is_signed else THEIRS.password
        if is_signed:
            self.heard.add(path)
        self.agent.received(self.now, encode(request, password), path)

    @precondition(lambda self: self.sent)
    @rule(
        data=st.data(),
        kind=st.sampled_from(("good", "good", "good", "conflict", "refused", "forged")),
        is_elsewhere=st.booleans(),
        elsewhere=PATHS,
    )
    def answer(
        self, data: st.DataObject, kind: str, is_elsewhere: bool, elsewhere: Path
    ) -> None:
        """Answer any request that was ever sent, once or repeatedly."""
        at = data.draw(st.integers(1, min(len(self.sent), 12)))
        path, request = self.sent[-at]
        answer = request.success(("192.0.2.1", 9))
        if kind == "conflict":
            answer = request.failure(ROLE_CONFLICT)
        elif kind == "refused":
            answer = request.failure((400, "Bad Request"))
        password = OURS.password if kind == "forged" else THEIRS.password
        if is_elsewhere:
            path = elsewhere
        elif kind == "good":
            self.heard.add(path)
        self.agent.received(self.now, encode(answer, password), path)

    @rule(seconds=st.sampled_from((0.0, 0.05, 0.3, 2.0, 5.0, 11.0)))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(3000):
            due = self.agent.due
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.agent.tick(self.now)
        else:
            raise AssertionError("it is woken for nothing")
        self.now = end

    @precondition(lambda self: self.agent.state is IceState.CONNECTED)
    @rule(seconds=st.sampled_from((40.0, 4000.0)))
    def stand_still(self, seconds: float) -> None:
        self.now += seconds
        self.agent.tick(self.now)

    @invariant()
    def invariants_hold(self) -> None:
        agent = self.agent
        assert len(agent.outbox) <= 3000
        for path, data in agent.outbox:
            message = decode(data)
            is_request = message.message_class is MessageClass.REQUEST
            password = THEIRS.password if is_request else OURS.password
            assert message.is_signed_by(password)
            if is_request:
                self.sent.append((path, message))
        agent.outbox.clear()
        assert not self.has_failed or agent.state is IceState.FAILED
        self.has_failed = agent.state is IceState.FAILED
        assert self.has_failed == (agent.failure is not None)
        assert (agent.selected is not None) == (agent.state is IceState.CONNECTED)
        assert agent.selected is None or agent.selected in self.heard
        assert agent.selected is None or agent.accepts(agent.selected)
        is_waiting = agent.state in (IceState.CHECKING, IceState.CONNECTED)
        assert is_waiting == (agent.due is not None)
        accepted = [
            Path(local, host, port, is_tcp)
            for local in ("udp", "tcp")
            for host in ("203.0.113.7", "203.0.113.8")
            for port in range(1, 41)
            for is_tcp in (True, False)
            if agent.accepts(Path(local, host, port, is_tcp))
        ]
        assert len(accepted) <= MOST_CHECKS
        assert set(accepted) <= self.heard


class IceMachineTests(SynchronousTestCase):
    def test_invariants_hold_whatever_happens(self) -> None:
        machine: Any = IceMachine.TestCase()
        machine.settings = settings(max_examples=30, stateful_step_count=40)
        machine.runTest()
