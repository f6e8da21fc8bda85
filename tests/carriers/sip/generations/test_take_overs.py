"""
Random dialogs with take-overs at any moment between messages: a peer receives
what a single process would send.
"""

from __future__ import annotations

import random
import re
from ipaddress import ip_network
from typing import Any

from attrs import define, evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.counted_calls import OVER, CountedCall, CountingSwitchboard
from tests.support.sip_generations import SipGateway, Where
from tests.support.sip_peer import HOST, MEDIA, PEER, SipWorld
from tests.support.unruly_caller import UnrulyCaller

#: The sender, the kind of message, and its request.
Heard = tuple[Where, str, str, str]


_BRANCH = rb"^via:.*;branch=(z9hG4bK\w+)"
_TO_TAG = rb"^to:.*;tag=([\w.]+)"


def _of(data: bytes, pattern: bytes) -> str:
    found = re.search(pattern, data, re.MULTILINE | re.IGNORECASE)
    return "" if found is None else found[1].decode("utf-8", "replace")


def seen(where: Where, data: bytes) -> Heard:
    """The parts of a message that do not depend on random tokens."""
    start = data.partition(b"\r\n")[0].decode("utf-8", "replace")
    if not start.startswith("SIP/2.0"):
        start = start.partition(" ")[0]
    call_id = _of(data, rb"^call-id: *(.*?)\r$")
    cseq = _of(data, rb"^cseq: *(\d{1,9} [A-Z]{3,9})\r$")
    return where, start, call_id, cseq or "odd"


class Branches:
    """
    The known tags of each branch.  A branch that is used again, with another
    tag, would belong to two processes at once: no peer does that.
    """

    def __init__(self) -> None:
        self._tags: dict[str, set[str]] = {}
        self._others = 0

    def heard(self, data: bytes) -> None:
        if data.startswith(b"SIP/2.0 ") and (tag := _of(data, _TO_TAG)):
            self._tags.setdefault(_of(data, _BRANCH), set()).add(tag)

    def lawful(self, data: bytes) -> bytes:
        """Return the message, with a new branch if needed."""
        branch, tag = _of(data, _BRANCH), _of(data, _TO_TAG)
        if not branch or data.startswith(b"SIP/2.0"):
            return data
        tags = self._tags.setdefault(branch, {tag})
        if tag in tags:
            return data
        self._others += 1
        other = f"{branch}x{self._others}"
        return data.replace(branch.encode(), other.encode())


@define
class Plan:
    """
    @ivar take_overs: the steps before which there is one.
    @ivar is_stream: use connections, not UDP.
    @ivar connections: the steps before which there is one more.
    @ivar deaths: the steps before which the oldest of several processes is killed.
    @ivar loss: the share of messages in both directions that are lost.
    """

    seed: int
    take_overs: tuple[int, ...]
    is_stream: bool
    connections: tuple[int, ...] = ()
    deaths: tuple[int, ...] = ()
    loss: float = 0.0


class TakeOverTests(SynchronousTestCase):
    def gateway(self) -> tuple[SipGateway, list[CountedCall]]:
        counted: list[CountedCall] = []

        def make(generation: str) -> SipWorld:
            world = SipWorld(
                generation=generation,
                allow=(ip_network("198.51.100.0/24"), ip_network("127.0.0.0/8")),
                # Two processes do not have their beats at the same moment.
                media_timeout_seconds=1000.0,
            )
            world.switchboard = switchboard = CountingSwitchboard(world.log, counted)
            world.carrier.context.switchboard = switchboard
            # Muting is tested elsewhere.
            world.carrier.access.offended = lambda *_: None  # type: ignore[method-assign]
            return world

        return SipGateway(make), counted

    def act(self, counted: list[CountedCall], rng: random.Random) -> None:
        for call in counted:
            chance = rng.random()
            if chance < 0.4:
                call.leg.answer()
            elif chance < 0.5:
                call.leg.hang_up(OVER)
            elif chance < 0.6:
                call.leg.transfer("+15550100").addErrback(lambda _: None)

    def play(self, plan: Plan) -> list[list[Heard]]:
        """Return what the peers received in each step."""
        rng = random.Random(plan.seed)
        gateway, counted = self.gateway()
        via = {True: "TCP", False: "UDP"}[plan.is_stream]
        callers = [
            UnrulyCaller(
                rng, here=PEER, media=MEDIA, there=HOST, name=name, transport=via
            )
            for name in ("a", "b")
        ]
        heard: list[list[Heard]] = []

        branches = Branches()

        def say(data: bytes) -> None:
            for _, out in gateway.out:
                branches.heard(out)
            data = branches.lawful(data)
            if rng.random() < plan.loss:
                return
            wire = rng.choice(gateway.wires) if plan.is_stream else None
            gateway.say(data, wire)
            gateway.deliver()

        def listen() -> None:
            # Messages sent at the same moment may come in any order.
            new = sorted(
                ((seen(*one), one[1]) for one in gateway.out),
                key=lambda one: (one[0], re.sub(rb"gen\d", b"", one[1])),
            )
            for _, data in new:
                branches.heard(data)
            gateway.out.clear()
            heard.append([one for one, _ in new])
            for _, data in new:
                if rng.random() < plan.loss:
                    continue
                for caller in callers:
                    for answer in caller.heard(data):
                        say(answer)

        def here() -> list[CountedCall]:
            carriers: list[Any] = [world.carrier for world in gateway.there()]
            return [
                call
                for call in counted
                if call.leg._context.owner in carriers  # type: ignore[attr-defined]
            ]

        for step in range(2 + rng.randrange(2, 14)):
            if step in plan.take_overs:
                gateway.take_over()
            if step in plan.deaths and len(gateway.there()) > 1:
                gateway.dies(gateway.worlds.index(gateway.there()[0]))
            if step in plan.connections or (plan.is_stream and not gateway.wires):
                gateway.connect()
            if step < 2:
                say(callers[step].opening())
            else:
                say(rng.choice(callers).next())
            listen()
            self.act(here(), rng)
            gateway.deliver()
            gateway.advance(rng.choice((0.0, 0.02, 0.6, 3.0)), 0.1)
            listen()
        for call in here():
            call.leg.hang_up(OVER)
        for _ in range(14):
            gateway.advance(10, 0.5)
            listen()
        for world in gateway.there():
            held = {name: count for name, count in world.carrier.counts().items()}
            held.pop("connections")
            self.assertEqual(held, dict.fromkeys(held, 0))
            self.assertEqual(len(world.carrier.succession.records), 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        heard.append([("calls", str(len(counted)), "", "")])
        return heard

    @settings(max_examples=40, deadline=None)
    # A repeated CANCEL whose INVITE is over.
    @example(2754545170, {7})
    @given(st.integers(0, 2**32), st.sets(st.integers(1, 14), min_size=1, max_size=3))
    def test_over_udp_peers_notice_nothing(self, seed: int, at: set[int]) -> None:
        self.notices_nothing(Plan(seed, tuple(at), False))

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.sets(st.integers(1, 14), min_size=1, max_size=3),
        st.sets(st.integers(2, 14), min_size=1, max_size=2),
        st.booleans(),
    )
    def test_a_killed_process_leaves_nothing_with_the_others(
        self, seed: int, at: set[int], deaths: set[int], is_stream: bool
    ) -> None:
        plan = Plan(seed, tuple(at), is_stream, tuple(at), tuple(deaths), 0.1)
        self.play(plan)

    @settings(max_examples=40, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.sets(st.integers(1, 14), min_size=1, max_size=3),
        st.sets(st.integers(1, 14), max_size=3),
    )
    def test_over_old_and_new_connections_peers_notice_nothing(
        self, seed: int, at: set[int], connections: set[int]
    ) -> None:
        self.notices_nothing(Plan(seed, tuple(at), True, tuple(connections)))

    def notices_nothing(self, plan: Plan) -> None:
        self.assertEqual(self.play(plan), self.play(evolve(plan, take_overs=())))
