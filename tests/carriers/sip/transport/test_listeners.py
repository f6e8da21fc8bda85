from __future__ import annotations

from ipaddress import ip_network
from typing import Any
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.access import Access
from chime_gateway.carriers.sip.transport.connections import Flow
from chime_gateway.carriers.sip.transport.listeners import (
    REOPEN_SECONDS,
    SipTransports,
)
from chime_gateway.carriers.sip.transport.tls import server_tls
from chime_gateway.errors import ConfigError
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.values import SipSettings
from chime_gateway.wire.sip.dialog import Hop
from chime_gateway.wire.sip.message import Source
from tests.carriers.sip.transport.test_connections import Receiver, Wire
from tests.support.certificates import self_signed
from tests.support.files import temporary_file


class UdpReactor(MemoryReactorClock):
    """
    A reactor with UDP ports.

    @ivar refusals: the exceptions of the next attempts to listen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[Exception] = []
        self.listening: list[tuple[int, str, Any]] = []

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 0
    ) -> Any:
        if self.refusals:
            raise self.refusals.pop()
        self.listening.append((port or 40_000, interface, protocol))
        host = Hop(interface, port or 40_000, "udp")
        return Mock(getHost=lambda: host, stopListening=protocol.stopProtocol)


#: Reasons why a port cannot be opened for a while.
REFUSALS = (
    CannotListenError("10.0.0.9", 5060, OSError("in use")),
    OSError(24, "Too many open files"),
    MemoryError(),
)


class LostPortTests(SynchronousTestCase):
    @given(
        st.sampled_from((0, 5060)),
        st.lists(st.lists(st.sampled_from(REFUSALS), max_size=4), max_size=4),
    )
    def test_a_lost_port_is_opened_again_after_any_failures(
        self, number: int, losses: list[list[Exception]]
    ) -> None:
        """Draws for each loss the failures of opening the port again."""
        reactor = UdpReactor()
        listener = Listener(transport="udp", port=number, interface="10.0.0.9")
        settings = SipSettings(listen=(listener,), allow=(ip_network("10.0.0.0/8"),))
        access = Access(settings.allow, reactor.seconds)
        transports = SipTransports(settings, Receiver(), access, reactor)
        transports.start()
        first = reactor.listening[-1]
        for n, refusals in enumerate(losses, 1):
            reactor.refusals = list(refusals)
            reactor.listening[-1][2].stopProtocol()
            # The messages of a call that ends meanwhile keep the address.
            self.assertEqual(transports.address("udp", "10.0.0.1")[1], first[0])
            reactor.pump([REOPEN_SECONDS] * (len(refusals) + 1))
            self.assertEqual(len(reactor.listening), 1 + n)
            self.assertEqual(reactor.listening[-1][:2], first[:2])
        self.assertEqual(len(transports.ports), 1)
        transports.stop()
        reactor.advance(100 * REOPEN_SECONDS)
        self.assertEqual(len(reactor.listening), 1 + len(losses))


class TransportTests(SynchronousTestCase):
    def new(self, **changes: Any) -> tuple[SipTransports, MemoryReactorClock]:
        reactor = MemoryReactorClock()
        settings = SipSettings(
            listen=(Listener(transport="tcp", port=5060, interface="10.0.0.9"),),
            allow=(ip_network("10.0.0.0/8"),),
            **changes,
        )
        access = Access(settings.allow, reactor.seconds)
        transports = SipTransports(settings, Receiver(), access, reactor)
        transports.start()
        return transports, reactor

    def test_a_new_connection_is_made_if_it_is_needed(self) -> None:
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
        # An open connection is used again.
        transports.connect(b"ACK", hop, lambda: None)
        self.assertEqual(wire.value(), b"BYEACK")
        self.assertEqual(len(reactor.tcpClients), 1)
        self.assertEqual(failed, [])

    @given(
        st.sampled_from(("tcp", "tls")),
        st.sampled_from(("10.0.0.1", "2001:db8::1", "127.0.0.1")),
        st.integers(1, 65535),
        st.booleans(),
    )
    def test_a_closed_connection_is_made_again(
        self, transport: str, host: str, port: int, is_named: bool
    ) -> None:
        """To hang up after the peer has closed the connection of the call."""
        transports, reactor = self.new()
        failed: list[bool] = []
        transports.connect(
            b"BYE",
            Hop(host, port, transport),
            lambda: failed.append(True),
            tls_name="sbc.example" if is_named else "",
        )
        reactor.advance(1)
        self.assertEqual(failed, [])
        (client,) = reactor.tcpClients
        self.assertEqual(client[1], port)
        protocol: Any = client[2].buildProtocol(None)
        wire = Wire(host, port)
        protocol.makeConnection(wire)
        # RFC 8446 section 5.1: a handshake with a hello.
        sent = b"BYE" if transport == "tcp" else b"\x16\x03\x01"
        self.assertTrue(wire.value().startswith(sent), wire.value())
        protocol.connectionLost(Failure(ConnectionLost()))

    def test_messages_for_streams_are_never_sent_as_datagrams(self) -> None:
        transports, _ = self.new()
        self.assertFalse(transports.send(b"ACK", Flow("tcp", Source("10.0.0.1", 5060))))
        self.assertFalse(transports.send(b"ACK", Flow("udp", Source("10.0.0.1", 5060))))

    def test_a_connection_that_cannot_be_made_is_reported(self) -> None:
        transports, reactor = self.new()
        failed: list[bool] = []
        hop = Hop("127.0.0.1", 5060, "tcp")
        transports.connect(b"BYE", hop, lambda: failed.append(True))
        factory: Any = reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError("no")))
        reactor.advance(1)
        self.assertEqual(failed, [True])

    def test_an_invalid_name_is_reported_like_an_unreachable_one(self) -> None:
        transports, reactor = self.new()
        failed: list[bool] = []
        for transport, name in (("tls", "a_b"), ("tcp", "x" * 300), ("tls", "")):
            hop = Hop(name, 5061, transport)
            transports.connect(b"BYE", hop, lambda: failed.append(True), tls_name=name)
        # Never during the call that sends.
        self.assertEqual(failed, [])
        reactor.advance(1)
        for one in reactor.tcpClients:
            factory: Any = one[2]
            factory.clientConnectionFailed(None, Failure(OSError("no")))
        reactor.advance(20)
        self.assertEqual(failed, [True] * 3)

    def test_addresses_in_via_and_contact(self) -> None:
        transports, _ = self.new()
        self.assertEqual(transports.host("10.0.0.1", "10.0.0.9"), "10.0.0.9")
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
        self.assertIn("is not the key of the certificate", str(caught.exception))
        server_tls(SipSettings(certificate=one)).getContext()
