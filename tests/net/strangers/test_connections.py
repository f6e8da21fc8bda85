"""A peer that sends its request at once always gets in, however many others wait."""

from __future__ import annotations

import resource
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.strangers.connections import FEW, Connections, place_of
from chime_gateway.net.system.descriptors import RESERVE, room_for

MOST = 40
HOSTS = st.sampled_from(
    ("10.0.0.1", "203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1", "2001:db8::2")
)


class Peer:
    def __init__(self, host: str, descriptor: int) -> None:
        self.host = host
        self.descriptor = descriptor
        self.is_aborted = False
        self.place = place_of(host)

    def getPeer(self) -> Any:
        family = IPv6Address if ":" in self.host else IPv4Address
        return family("TCP", self.host, 40000)

    def fileno(self) -> int:
        return self.descriptor

    def abortConnection(self) -> None:
        self.is_aborted = True


class ConnectionsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.connections = Connections(
            Clock(), MOST, is_scarce=lambda descriptor: descriptor > 100
        )
        # In the order of their last message.
        self.waiting: list[Peer] = []
        self.known: list[Peer] = []

    @rule(host=HOSTS, count=st.integers(1, 15), is_scarce=st.sampled_from((0, 0, 0, 1)))
    def come(self, host: str, count: int, is_scarce: int) -> None:
        for _ in range(count):
            peer = Peer(host, 200 if is_scarce else 50)
            before = list(self.waiting)
            self.waiting.append(peer)
            self.connections.came(peer)
            assert not peer.is_aborted, "whoever comes is let in"
            for one in (p for p in before if p.is_aborted):
                older = before[: before.index(one)]
                same = [p for p in older if p.place == one.place]
                assert all(p.is_aborted for p in same), "the oldest goes"
            self.waiting = [p for p in self.waiting if not p.is_aborted]

    @rule(at=st.integers(0, MOST))
    def answered(self, at: int) -> None:
        for peer in self.waiting[at : at + 1]:
            self.connections.answered(peer)
            self.waiting.remove(peer)
            self.waiting.append(peer)

    @rule(at=st.integers(0, MOST), is_known=st.booleans())
    def leave(self, at: int, is_known: bool) -> None:
        for peer in self.waiting[at : at + 1]:
            self.waiting.remove(peer)
            if is_known:
                self.connections.known(peer)
                self.known.append(peer)
            else:
                self.connections.left(peer)
                self.connections.left(peer)
                self.connections.answered(peer)

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        assert len(self.connections) == len(self.waiting) <= MOST
        places = [peer.place for peer in self.waiting]
        assert all(places.count(place) <= MOST // 2 for place in places)

    @invariant()
    def known_connections_stay_open(self) -> None:
        assert not any(peer.is_aborted for peer in self.known)


class ConnectionsMachineTests(SynchronousTestCase):
    def test_a_peer_that_speaks_at_once_always_gets_in(self) -> None:
        limits = settings(max_examples=15, stateful_step_count=12, deadline=None)
        run_state_machine_as_test(ConnectionsMachine, settings=limits)


class ConnectionsTests(SynchronousTestCase):
    def test_one_address_cannot_use_up_all_connections(self) -> None:
        connections = Connections(Clock(), MOST, is_scarce=lambda _: False)
        quiet = Peer("10.0.0.1", 5)
        connections.came(quiet)
        for number in range(10 * MOST):
            connections.came(Peer(f"2001:db8::{number:x}", 5))
        self.assertFalse(quiet.is_aborted)
        self.assertEqual(connections.closed["crowded"], 10 * MOST - MOST // 2)

    @settings(max_examples=30, deadline=None)
    @given(calls=st.integers(1, 900), limit=st.integers(256, 8192))
    def test_all_calls_may_come_at_once_from_one_address(
        self, calls: int, limit: int
    ) -> None:
        calls = min(calls, (limit - RESERVE) // 4)  # there are descriptors for them
        self.patch(resource, "getrlimit", lambda _: (limit, limit))
        connections = Connections(Clock(), room_for(2000, calls, 4))
        first = limit - RESERVE - calls  # of their descriptors
        burst = [Peer("203.0.113.7", first + number) for number in range(calls)]
        for peer in burst:
            connections.came(peer)
        self.assertEqual(sum(peer.is_aborted for peer in burst), 0)

    def test_only_a_few_connections_get_the_last_descriptors(self) -> None:
        connections = Connections(Clock(), 1000, is_scarce=lambda fd: fd >= 60)
        for descriptor in range(5, 70):
            connections.came(Peer("10.0.0.1", descriptor))
        self.assertEqual(len(connections), FEW)

    def test_a_peer_without_an_internet_address_is_counted_too(self) -> None:
        for host, place in (
            ("", ""),
            ("/run/gateway.sock", "/run/gateway.sock"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("fe80::1%eth0", place_of("fe80::2")),
        ):
            self.assertEqual(place_of(host), place)
