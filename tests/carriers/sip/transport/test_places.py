"""Transactions are limited, however many requests come from anywhere."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.places import Bound
from chime_gateway.carriers.sip.transport.transactions import Incoming, Transactions
from chime_gateway.wire.sip.message import Request, Source
from chime_gateway.wire.sip.parser import parse
from chime_gateway.wire.sip.transactions import Timers

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
OF_ONE, IN_ALL = Bound(4, 4000), Bound(7, 6000)


def request(method: str, number: int, host: str, size: int = 0) -> Request:
    found = parse(
        f"{method} sip:a@b SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host};branch=z9hG4bK{number}\r\n"
        f"From: <sip:a@{host}>;tag={'t' * (size + 1)}\r\nTo: <sip:a@b>\r\n"
        f"Call-ID: {number}\r\nCSeq: 1 {method}\r\n\r\n".encode()
    )
    assert isinstance(found, Request)
    return found


#: The steps: a request comes, is answered, or is repeated; time passes.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("new", "new", "new", "answer", "again", "ack", "wait")),
        st.sampled_from(HOSTS),
        st.sampled_from(("INVITE", "OPTIONS")),
        st.sampled_from((180, 200, 200, 404)),
        st.sampled_from((0, 0, 500, 1800)),
        st.integers(0, 30),
    ),
    min_size=20,
    max_size=60,
)


class PlacesTests(SynchronousTestCase):
    """
    @ivar open: requests without a final answer, by number.
    """

    def begin(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[bytes, Flow]] = []
        self.transactions = Transactions(
            self.clock,
            Timers(t1=0.5),
            lambda data, flow, _: self.sent.append((data, flow)),
            (OF_ONE, IN_ALL),
        )
        self.came: list[tuple[Request, Flow, Incoming]] = []
        self.open: dict[int, str] = {}

    def new(self, method: str, host: str, size: int) -> None:
        number = len(self.came)
        came = request(method, number, host, size)
        flow = Flow("udp", Source(host, 5060))
        before = len(self.sent)
        incoming = self.transactions.receive(came, flow)
        if incoming is None:
            # No request is refused while an answered one can be evicted.
            own = sum(one == host for one in self.open.values())
            is_full = own >= OF_ONE.transactions
            self.assertTrue(is_full or len(self.open) >= IN_ALL.transactions)
            ((answer, _),) = self.sent[before:]
            self.assertTrue(answer.startswith(b"SIP/2.0 503"))
        else:
            self.came.append((came, flow, incoming))
            self.open[number] = host

    def answer(self, at: int, status: int) -> None:
        came, _, incoming = self.came[at]
        if at in self.open:
            incoming.respond(status, to_tag="x")
            if status >= 200:
                self.open.pop(at)
                if status < 300 and came.method == "INVITE":
                    incoming.acknowledged()
                else:
                    incoming.settled()

    def check(self) -> None:
        servers: Any = self.transactions._servers
        hosts = [incoming.flow.source.host for incoming, _ in servers.values()]
        self.assertLessEqual(len(hosts), IN_ALL.transactions)
        for host in HOSTS:
            self.assertLessEqual(hosts.count(host), OF_ONE.transactions)
        self.assertEqual(len(self.transactions.places), len(hosts))
        # An unanswered request is never evicted.
        for number in self.open:
            came, flow, _ = self.came[number]
            self.assertIsNone(self.transactions.receive(came, flow))

    @settings(max_examples=100, deadline=None)
    @given(STEPS)
    def test_transactions_are_limited_and_unanswered_ones_stay(
        self, steps: list[tuple[str, str, str, int, int, int]]
    ) -> None:
        self.begin()
        for what, host, method, status, size, at in steps:
            if what == "new":
                self.new(method, host, size)
            elif what == "wait":
                self.clock.advance(at / 60)  # less than timer J in all
            elif self.came:
                at %= len(self.came)
                came, flow, _ = self.came[at]
                if what == "answer":
                    self.answer(at, status)
                elif what == "ack" and came.method == "INVITE":
                    ack = request("ACK", at, flow.source.host)
                    self.transactions.absorbs_ack(ack)
            self.check()
        for number in list(self.open):
            self.answer(number, 404)
        self.clock.pump([0.5] * 200)
        self.assertEqual(self.transactions.count, 0)
        self.assertEqual(len(self.transactions.places), 0)
        self.assertEqual(self.transactions._merged, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.integers(1, 3 * IN_ALL.transactions))
    def test_the_oldest_answered_transaction_is_evicted_first(self, flood: int) -> None:
        self.begin()
        self.new("OPTIONS", HOSTS[0], 0)
        self.answer(0, 200)
        for n in range(flood):
            self.new("OPTIONS", HOSTS[1], 0)
            self.answer(n + 1, 200)
        kept = [
            at
            for at, (came, _, _) in enumerate(self.came)
            if any(came.branch in key for key in self.transactions._servers)
        ]
        # A flood from one source evicts only its own transactions.
        newest = range(max(0, flood - OF_ONE.transactions), flood)
        self.assertEqual(kept, [0, *(n + 1 for n in newest)])
        self.assertEqual(
            self.transactions.places.evicted, max(0, flood - OF_ONE.transactions)
        )


class ManyAddressesTests(SynchronousTestCase):
    """An IPv6 network has no more places than a single address."""

    @settings(max_examples=25, deadline=None)
    @given(
        st.sets(
            st.integers(0, 2**64 - 1), min_size=OF_ONE.transactions + 1, max_size=9
        ),
        st.booleans(),
    )
    def test_an_ipv6_network_is_one_source(self, hosts: set[int], is_one: bool) -> None:
        """@param is_one: all are in one /64; otherwise each is in another."""
        most = Bound(1000, 1 << 20)
        transactions = Transactions(Clock(), Timers(), _nowhere, (OF_ONE, most))
        first = 0x20010DB8 << 96
        taken = 0
        for number, host in enumerate(hosts):
            address = str(IPv6Address(first + (host if is_one else number << 64)))
            came = request("OPTIONS", number, "sbc")
            flow = Flow("udp", Source(address, 5060))
            taken += transactions.receive(came, flow) is not None
        self.assertEqual(taken, OF_ONE.transactions if is_one else len(hosts))


def _nowhere(data: bytes, flow: Flow, port: int) -> None: ...
