"""Who may talk, which ports are lent, and which connections lead where."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.legs import rtp_port
from chime_gateway.legs.quota import TokenBucket
from chime_gateway.legs.rtp_port import NoPortFree, PortPool
from chime_gateway.legs.sip_access import OFFENCE_BURST, Access
from chime_gateway.legs.sip_tls import server_tls
from chime_gateway.legs.sip_transport import (
    FIRST_SECONDS,
    IDLE_SECONDS,
    MAX_CONNECTIONS_PER_HOST,
    Connection,
    Flow,
    ServerFactory,
    SipTransports,
    Streams,
    local_address_to,
)
from chime_gateway.settings import SipListener, SipSettings
from chime_gateway.wire.sip import BadMessage, Source
from chime_gateway.wire.sipdialog import Hop
from tests.files import temporary_file
from tests.integration.sip_harness import self_signed

MESSAGE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc"


class AccessTests(SynchronousTestCase):
    def test_a_bucket_fills_as_time_passes(self) -> None:
        bucket = TokenBucket(2.0, 3.0)
        self.assertEqual([bucket.take(0.0) for _ in range(4)], [True] * 3 + [False])
        self.assertTrue(bucket.take(0.5))
        self.assertFalse(bucket.take(0.5))
        self.assertEqual([bucket.take(99.0) for _ in range(4)], [True] * 3 + [False])

    def test_offenders_are_forgotten_when_there_are_too_many(self) -> None:
        access = Access([ip_network("10.0.0.0/8")], lambda: 0.0)
        for number in range(3000):
            access.offended(f"10.0.{number >> 8}.{number & 255}")
        self.assertLessEqual(len(access._offenders), 1000)

    def test_only_the_offender_is_muted(self) -> None:
        access = Access([ip_network("10.0.0.0/8")], lambda: 0.0)
        for _ in range(int(OFFENCE_BURST) + 1):
            access.offended("10.0.0.1")
        self.assertFalse(access.admits("10.0.0.1"))
        self.assertTrue(access.admits("10.0.0.2"))


class FakeSocket:
    """What the pool opens here."""

    taken: set[int] = set()  # noqa: RUF012

    def __init__(self, family: Any, kind: Any) -> None:
        self.closed = False

    def setblocking(self, _: bool) -> None: ...

    def bind(self, address: tuple[str, int]) -> None:
        if address[1] in self.taken:
            raise OSError("in use")

    def close(self) -> None:
        self.closed = True

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        raise BlockingIOError

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        raise OSError("full")

    def fileno(self) -> int:
        return 99


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        FakeSocket.taken = set()

        class Module:
            AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6
            SOCK_DGRAM = socket.SOCK_DGRAM
            socket = FakeSocket

        self.patch(rtp_port, "socket", Module)
        self.pool = PortPool(5001, 5005, "127.0.0.1", None, lambda: self.now, 10.0)

    def lend(self) -> rtp_port.RtpPort:
        return self.pool.lend(lambda d, a: None, lambda d, a: None)

    def test_pairs_begin_even_and_rest_after_a_call(self) -> None:
        self.assertEqual(self.pool.size, 2)
        first, second = self.lend(), self.lend()
        self.assertEqual((first.number, second.number), (5002, 5004))
        with self.assertRaises(NoPortFree):
            self.lend()
        self.pool.take_back(first)
        self.assertEqual(self.pool.in_use, 1)
        with self.assertRaises(NoPortFree):
            self.lend()
        self.now = 10.0
        self.assertEqual(self.lend().number, 5002)

    def test_a_port_that_somebody_else_has_is_passed_over(self) -> None:
        FakeSocket.taken = {5003}
        self.assertEqual(self.lend().number, 5004)
        FakeSocket.taken = {5002}
        with self.assertRaises(NoPortFree):
            self.lend()
        FakeSocket.taken = set()
        self.assertEqual(self.lend().number, 5002)

    def test_what_the_system_does_not_take_is_counted(self) -> None:
        port = self.lend()
        port.send_rtp(b"x", ("127.0.0.1", 1))
        port.send_rtcp(b"x", ("127.0.0.1", 1))
        self.assertEqual(port.failures, 2)
        port._rtp.doRead()  # nothing there is nothing wrong
        self.assertTrue(port._rtp.connected)


class Receiver:
    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Flow]] = []
        self.broken: list[BadMessage] = []

    def message_received(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))

    def stream_broken(self, bad: BadMessage, flow: Flow) -> None:
        self.broken.append(bad)


class Wire(StringTransport):
    """A connection's transport with an address."""

    def __init__(self, host: str = "10.0.0.1", port: int = 4000) -> None:
        super().__init__()
        self.host, self.port = host, port
        self.aborted = False

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

    def test_messages_come_whole_with_the_way_back(self) -> None:
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

    def test_a_stream_of_nonsense_is_closed(self) -> None:
        connection, wire = self.connect()
        connection.dataReceived(b"x" * 20000)
        self.assertTrue(wire.disconnecting)
        self.assertEqual(len(self.receiver.broken), 1)

    def test_who_says_nothing_or_only_half_is_not_waited_for(self) -> None:
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

    def test_strangers_and_too_many_are_not_let_in(self) -> None:
        factory = ServerFactory("tcp", self.streams)
        self.assertIsNone(factory.buildProtocol(Wire("192.0.2.1")))
        for _ in range(MAX_CONNECTIONS_PER_HOST):
            connection = factory.buildProtocol(Wire("10.0.0.1"))
            assert connection is not None
            connection.makeConnection(Wire("10.0.0.1"))
        self.assertIsNone(factory.buildProtocol(Wire("10.0.0.1")))
        self.assertIsNotNone(factory.buildProtocol(Wire("10.0.0.2")))
        self.assertEqual(self.access.dropped["too_many_connections"], 1)

    def test_a_connection_that_is_gone_leaves_nothing(self) -> None:
        connection, _ = self.connect()
        self.assertIs(self.streams.to("tcp", "10.0.0.1", 4000), connection)
        connection.connectionLost(Failure(Exception("gone")))
        self.assertIsNone(self.streams.to("tcp", "10.0.0.1", 4000))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(connection.flow.connection.is_open)  # type: ignore[union-attr]


class TransportTests(SynchronousTestCase):
    def new(self, **changes: Any) -> tuple[SipTransports, MemoryReactorClock]:
        reactor = MemoryReactorClock()
        settings = SipSettings(
            listen=(SipListener(transport="tcp", port=5060, interface="10.0.0.9"),),
            allow=(ip_network("10.0.0.0/8"),),
            **changes,
        )
        access = Access(settings.allow, reactor.seconds)
        transports = SipTransports(settings, Receiver(), access, reactor)
        transports.start()
        return transports, reactor

    def test_a_new_connection_is_made_for_what_must_be_sent(self) -> None:
        transports, reactor = self.new()
        failed: list[bool] = []
        hop = Hop("127.0.0.1", 5060, "tcp")
        transports.connect(b"BYE", hop, lambda: failed.append(True))
        host, port, factory, _, _ = reactor.tcpClients[-1]
        self.assertEqual((host, port), ("127.0.0.1", 5060))
        protocol: Any = factory.buildProtocol(None)
        wire = Wire("127.0.0.1", 5060)
        protocol.makeConnection(wire)
        self.assertEqual(wire.value(), b"BYE")
        # It is used again while it is open.
        transports.connect(b"ACK", hop, lambda: None)
        self.assertEqual(wire.value(), b"BYEACK")
        self.assertEqual(len(reactor.tcpClients), 1)
        self.assertEqual(failed, [])

    def test_what_belongs_on_a_stream_never_goes_out_as_a_datagram(self) -> None:
        transports, _ = self.new()
        self.assertFalse(transports.send(b"ACK", Flow("tcp", Source("10.0.0.1", 5060))))
        self.assertFalse(transports.send(b"ACK", Flow("udp", Source("10.0.0.1", 5060))))

    def test_a_connection_that_cannot_be_made_is_told(self) -> None:
        transports, reactor = self.new()
        failed: list[bool] = []
        hop = Hop("127.0.0.1", 5060, "tcp")
        transports.connect(b"BYE", hop, lambda: failed.append(True))
        factory: Any = reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError("no")))
        reactor.advance(1)
        self.assertEqual(failed, [True])

    def test_addresses_that_are_told(self) -> None:
        transports, _ = self.new()
        self.assertEqual(transports.host("10.0.0.1", "10.0.0.9"), "10.0.0.9")
        self.assertEqual(local_address_to("127.0.0.1"), "127.0.0.1")
        public, _ = self.new(public_address="198.51.100.204")
        self.assertEqual(public.host("10.0.0.1", "10.0.0.9"), "198.51.100.204")

    def test_a_certificate_that_cannot_be_used_is_named(self) -> None:
        path = temporary_file(self, "no pem")
        for certificate in (path, "/nowhere.pem"):
            with self.assertRaises(ConfigError) as caught:
                server_tls(SipSettings(certificate=certificate))
            self.assertIn(certificate, str(caught.exception))
        one, other = (temporary_file(self, self_signed()) for _ in range(2))
        with self.assertRaises(ConfigError) as caught:
            server_tls(SipSettings(certificate=one, private_key=other))
        self.assertIn("not this certificate's", str(caught.exception))
        server_tls(SipSettings(certificate=one)).getContext()
