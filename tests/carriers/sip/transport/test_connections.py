from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.access import Access
from chime_gateway.carriers.sip.transport.connections import (
    CLOSE_SECONDS,
    FIRST_SECONDS,
    IDLE_SECONDS,
    MAX_CONNECTIONS_PER_HOST,
    Connection,
    Flow,
    ServerFactory,
    Streams,
)
from chime_gateway.carriers.sip.transport.tls import server_tls
from chime_gateway.carriers.sip.transport.turns import PIECE_BYTES, TURN_SECONDS
from chime_gateway.settings.values import SipSettings
from chime_gateway.wire.sip.message import BadMessage
from tests.support.certificates import self_signed
from tests.support.files import temporary_file
from tests.support.http_peers import TurningClock

MESSAGE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc"


class Receiver:
    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Flow]] = []
        self.broken: list[BadMessage] = []

    def message_received(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))

    def stream_broken(self, bad: BadMessage, flow: Flow) -> None:
        self.broken.append(bad)


#: The time that an OPTIONS takes.
MESSAGE_SECONDS = 0.00013


def message(number: int, between: bytes = b"") -> bytes:
    blank, body = (between, b"") if between.startswith(b"\r") else (b"", between)
    head = f"OPTIONS sip:{number:09} SIP/2.0\r\nContent-Length: {len(body)}\r\n\r\n"
    return blank + head.encode() + body


SIZE = len(message(0))


class SlowReceiver(Receiver):
    """
    @ivar failing: the peers whose messages cause an exception.
    """

    clock: Clock
    failing: Connection | None = None

    def message_received(self, data: bytes, flow: Flow) -> None:
        super().message_received(data, flow)
        self.clock.rightNow += MESSAGE_SECONDS
        if flow.connection is self.failing is not None:
            raise ZeroDivisionError


class Wire(StringTransport):
    """A connection's transport with an address."""

    def __init__(self, host: str = "10.0.0.1", port: int = 4000) -> None:
        super().__init__()
        self.host, self.port = host, port
        self.aborted = False
        self.is_paused = False

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def getPeer(self) -> Any:
        return self

    def setTcpNoDelay(self, _: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.receiver = Receiver()
        self.access = Access([ip_network("10.0.0.0/8")], self.clock.seconds)
        self.streams = Streams(self.receiver, self.access, self.clock)

    def connect(self, host: str = "10.0.0.1") -> tuple[Connection, Wire]:
        connection = Connection("tcp", self.streams)
        wire = Wire(host)
        connection.makeConnection(wire)
        return connection, wire

    def test_messages_come_whole_with_their_flow(self) -> None:
        connection, _ = self.connect()
        for byte in MESSAGE + MESSAGE:
            connection.dataReceived(bytes([byte]))
        self.assertEqual([data for data, _ in self.receiver.messages], [MESSAGE] * 2)
        flow = self.receiver.messages[0][1]
        self.assertIs(flow.connection, connection)
        self.assertTrue(flow.is_reliable)

    def test_a_ping_is_answered(self) -> None:
        connection, wire = self.connect()
        connection.dataReceived(b"\r\n\r\n")
        self.assertEqual(wire.value(), b"\r\n")

    def test_a_malformed_stream_is_closed(self) -> None:
        connection, wire = self.connect()
        connection.dataReceived(b"x" * 20000)
        self.assertTrue(wire.disconnecting)
        self.assertEqual(len(self.receiver.broken), 1)

    def test_a_peer_without_a_whole_message_is_not_waited_for(self) -> None:
        connection, wire = self.connect()
        connection.dataReceived(MESSAGE[:10])
        self.clock.advance(FIRST_SECONDS + 1)
        self.assertTrue(wire.disconnecting)
        connection, wire = self.connect()
        connection.dataReceived(MESSAGE)
        self.clock.advance(FIRST_SECONDS + 1)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(IDLE_SECONDS)
        self.assertTrue(wire.disconnecting)

    def test_too_many_connections_are_refused(self) -> None:
        factory = ServerFactory("tcp", self.streams, None)

        def is_let_in(host: str) -> bool:
            wire = Wire(host)
            factory.buildProtocol(wire).makeConnection(wire)
            return not wire.aborted

        for _ in range(MAX_CONNECTIONS_PER_HOST):
            self.assertTrue(is_let_in("10.0.0.1"))
        self.assertFalse(is_let_in("10.0.0.1"))
        self.assertFalse(is_let_in("::ffff:10.0.0.1"))
        self.assertTrue(is_let_in("10.0.0.2"))
        self.assertEqual(self.access.dropped["too_many_connections"], 2)

    def test_an_ipv6_network_is_one_host(self) -> None:
        access = Access([ip_network("2001:db8::/32")], self.clock.seconds)
        streams = Streams(self.receiver, access, self.clock)
        factory = ServerFactory("tcp", streams, None)
        wires = [Wire(f"2001:db8::{n:x}") for n in range(MAX_CONNECTIONS_PER_HOST + 2)]
        wires.append(Wire("2001:db8:0:1::1"))
        ends = []
        for wire in wires:
            end = factory.buildProtocol(wire)
            end.makeConnection(wire)
            ends.append(end)
        refused = [wire.aborted for wire in wires]
        self.assertEqual(
            refused, [False] * MAX_CONNECTIONS_PER_HOST + [True] * 2 + [False]
        )
        for end in ends:
            end.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(streams._by_host, {})

    def test_a_closed_connection_leaves_nothing(self) -> None:
        connection, _ = self.connect()
        self.assertIs(self.streams.to("tcp", "10.0.0.1", 4000), connection)
        connection.connectionLost(Failure(Exception("gone")))
        self.assertIsNone(self.streams.to("tcp", "10.0.0.1", 4000))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(connection.flow.connection.is_open)  # type: ignore[union-attr]


class BusyPeersTests(SynchronousTestCase):
    """Turns are short, however much comes over however many connections."""

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(
            st.lists(st.sampled_from((1, 30, 120)), max_size=3),
            min_size=1,
            max_size=6,
        ),
        st.sampled_from((b"", b"\r\n\r\n", b"i" * 5000)),
        st.sets(st.integers(0, 5)),
    )
    def test_no_turn_is_long_and_no_message_is_lost(
        self, reads: list[list[int]], between: bytes, lost: set[int]
    ) -> None:
        """
        @param reads: for each connection, the number of messages in each read.
        @param between: the bytes of a body, or of pings, in each message.
        @param lost: the connections that are lost in the third turn.
        """
        clock, receiver = TurningClock(), SlowReceiver()
        receiver.clock = clock
        access = Access([ip_network("10.0.0.0/8")], clock.seconds)
        streams = Streams(receiver, access, clock)
        connections = [(Connection("tcp", streams), Wire(port=n)) for n in range(6)]
        for connection, wire in connections:
            connection.makeConnection(wire)
        said = [0] * 6
        for turn in range(200):
            began = clock.seconds()
            clock.turn()
            for n, (connection, wire) in enumerate(connections[: len(reads)]):
                if wire.is_paused or wire.aborted:
                    continue
                if turn == 3 and n in lost:
                    connection.connectionLost(Failure(ConnectionLost()))
                    wire.aborted = True
                elif reads[n]:
                    data = b""
                    for _ in range(reads[n].pop()):
                        data += message(said[n], between)
                        said[n] += 1
                    connection.dataReceived(data)
            took = clock.seconds() - began
            # The last check of the clock was before a piece, not one per connection.
            most = TURN_SECONDS + MESSAGE_SECONDS * (1 + PIECE_BYTES // SIZE)
            self.assertLessEqual(took, most, f"turn {turn}")
            clock.rightNow += 1e-6
        for n, (connection, wire) in enumerate(connections):
            got = [m for m, flow in receiver.messages if flow.connection is connection]
            self.assertEqual(
                got, [message(i, between)[-len(m) :] for i, m in enumerate(got)]
            )
            if not wire.aborted:
                self.assertEqual(len(got), said[n])
                self.assertFalse(wire.is_paused)
        for connection, _ in connections:
            connection.connectionLost(Failure(ConnectionLost()))
        clock.turn()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_failure_closes_only_its_own_connection(self) -> None:
        clock, receiver = TurningClock(), SlowReceiver()
        receiver.clock = clock
        access = Access([ip_network("10.0.0.0/8")], clock.seconds)
        streams = Streams(receiver, access, clock)
        ends = [(Connection("tcp", streams), Wire(port=n)) for n in range(3)]
        for connection, wire in ends:
            connection.makeConnection(wire)
            connection.dataReceived(message(0) * 200)
        receiver.failing = ends[1][0]
        for _ in range(200):
            clock.turn()
        self.assertEqual([wire.aborted for _, wire in ends], [False, True, False])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        for connection, _ in (ends[0], ends[2]):
            got = [m for m, flow in receiver.messages if flow.connection is connection]
            self.assertEqual(len(got), 200)


class SilentPeerTests(SynchronousTestCase):
    """Whatever a peer omits, no descriptor and no timer is left."""

    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from(("tcp", "tls")),
        st.lists(
            st.sampled_from((MESSAGE, MESSAGE[:9], b"\r\n\r\n", b"x" * 20_000, b"")),
            max_size=4,
        ),
        st.booleans(),
    )
    def test_a_connection_that_the_peer_does_not_close_is_aborted(
        self, transport: str, said: list[bytes], has_answered: bool
    ) -> None:
        clock, receiver = Clock(), Receiver()
        access = Access([ip_network("10.0.0.0/8")], clock.seconds)
        streams = Streams(receiver, access, clock)
        connection, wire = Connection(transport, streams), Wire()
        connection.makeConnection(wire)
        for data in said:
            connection.dataReceived(data)
            if has_answered:
                connection.send(b"SIP/2.0 200 OK\r\n\r\n")
        clock.pump([1.0] * int(IDLE_SECONDS + CLOSE_SECONDS + 1))
        self.assertTrue(wire.aborted)
        # A message that has to be sent now needs an open connection.
        self.assertIsNone(streams.to(transport, wire.host, wire.port))
        heard = len(receiver.messages)
        connection.dataReceived(MESSAGE)
        self.assertEqual(len(receiver.messages), heard)
        connection.connectionLost()
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(streams.connections, set())


class StrangerTests(SynchronousTestCase):
    """A stranger costs a connection for a moment, and nothing else."""

    def setUp(self) -> None:
        path = temporary_file(self, self_signed())
        self.tls = server_tls(SipSettings(certificate=path))

    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from(("tcp", "tls")),
        st.lists(
            st.sampled_from(
                ("10.0.0.1", "::ffff:10.0.0.2", "192.0.2.1", "2001:db8::1", "10.0.0.x")
            )
        ),
        st.binary(max_size=40),
    )
    def test_strangers_are_refused_before_the_handshake(
        self, transport: str, hosts: list[str], said: bytes
    ) -> None:
        clock = Clock()
        access = Access([ip_network("10.0.0.0/8")], clock.seconds)
        streams = Streams(Receiver(), access, clock)
        factory = ServerFactory(
            transport, streams, self.tls if transport == "tls" else None
        )
        for host in hosts:
            wire = Wire(host)
            protocol = factory.buildProtocol(wire)
            protocol.makeConnection(wire)
            is_friend = access.allows(host)
            self.assertEqual(wire.aborted, not is_friend)
            self.assertEqual(
                isinstance(protocol, TLSMemoryBIOProtocol),
                is_friend and transport == "tls",
            )
            if not is_friend:
                protocol.dataReceived(said)
                self.assertEqual(wire.value(), b"")
        strangers = [host for host in hosts if not access.allows(host)]
        self.assertEqual(len(streams.connections), len(hosts) - len(strangers))
        self.assertEqual(access.dropped["not_allowed"], len(strangers))
        self.assertEqual(self.flushLoggedErrors(), [])
