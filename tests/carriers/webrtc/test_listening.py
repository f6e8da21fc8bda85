"""Ports that are opened and closed, and the addresses in candidates."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest.mock import Mock

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.webrtc import listening
from chime_gateway.carriers.webrtc.listening import WebRtcPorts
from chime_gateway.errors import ConfigError
from chime_gateway.net.generations.inheritance import Listening
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.webrtc import WebRtcSettings

OWN = {"192.0.2.1": "10.0.0.5", "2001:db8::1": "fd00::5"}


class _Port:
    def __init__(self, number: int) -> None:
        self._number = number

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "", self._number)


class CandidateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(listening, "local_address_to", lambda host: OWN[host])

    def told(
        self, reached_at: str, *interfaces: tuple[str, str], public: str = ""
    ) -> list[str]:
        listen = tuple(
            Listener(transport=transport, port=0, interface=interface)
            for transport, interface in interfaces or (("udp", ""),)
        )
        settings = WebRtcSettings(listen=listen, public_address=public)
        nobody: Any = None
        ports = WebRtcPorts(settings, nobody, nobody, nobody)
        ports.ports += [(one, _Port(3000 + n)) for n, one in enumerate(listen)]
        found = ports.candidates(reached_at)
        best = sorted(found, key=lambda one: -one.priority)
        self.assertEqual(len({one.foundation for one in found}), len(found))
        return [f"{one.transport} {one.host} {one.port}" for one in best]

    def test_a_public_address_is_the_only_candidate(self) -> None:
        self.assertEqual(
            self.told("10.0.0.5", public="198.51.100.204"),
            ["udp 198.51.100.204 3000"],
        )

    def test_otherwise_the_address_of_the_request_is_used(self) -> None:
        self.assertEqual(self.told("10.0.0.9"), ["udp 10.0.0.9 3000"])
        self.assertEqual(self.told("::ffff:10.0.0.9"), ["udp 10.0.0.9 3000"])
        both = self.told("fd00::9", ("udp", "::"))
        self.assertEqual(both, ["udp fd00::9 3000"])

    def test_after_a_loopback_request_other_addresses_are_added(self) -> None:
        """A proxy or a browser on the same machine uses the loopback address."""
        places = ["udp 127.0.0.1 3000", "udp 10.0.0.5 3000"]
        self.assertEqual(self.told("127.0.0.1"), places)
        six = self.told("::1", ("udp", "::"))
        self.assertEqual(six[0], "udp ::1 3000")
        self.assertIn("udp fd00::5 3000", six)
        # A Unix socket has no address.
        self.assertEqual(self.told(""), ["udp 10.0.0.5 3000"])

    def test_a_configured_interface_is_the_candidate(self) -> None:
        told = self.told("10.0.0.9", ("udp", "10.1.1.1"), ("tcp", "10.1.1.1"))
        self.assertEqual(told, ["udp 10.1.1.1 3000", "tcp 10.1.1.1 3001"])

    def test_an_ipv4_port_has_no_ipv6_candidate(self) -> None:
        self.assertEqual(self.told("fd00::9"), ["udp 10.0.0.5 3000"])
        self.patch(listening, "local_address_to", lambda host: "127.0.0.1")
        self.assertEqual(self.told("fd00::9"), ["udp 127.0.0.1 3000"])


class Reactor:
    """@ivar asked: what was to be listened on; C{refusal}: the answer to the next."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.refusal: Exception | None = None

    def share(self, what: Listening, opened: Any) -> Any:
        self.asked.append((what.kind, what.interface, what.port))
        if self.refusal is not None:
            raise self.refusal
        return opened(7)

    def listenTCP(self, port: int, factory: Any, interface: str) -> Any:
        self.asked.append(("tcp", interface, port))
        if self.refusal is not None:
            raise self.refusal
        return Mock(stopListening=lambda: ("closed", port))


class LifeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.opened: list[Any] = []
        self.patch(listening, "SharedPort", self.shared_port)

    def shared_port(self, *about: Any) -> Any:
        self.opened.append(about)
        port = Mock(dropped=Counter(stun=2), stopListening=lambda: None)
        port.__len__ = lambda self: 3
        return port

    def ports(self, *listen: Listener) -> WebRtcPorts:
        batch, strangers = Mock(), Mock()
        return WebRtcPorts(
            WebRtcSettings(listen=listen), self.reactor, batch, strangers
        )

    def test_each_listener_is_opened_once_and_closed_again(self) -> None:
        udp = Listener(transport="udp", port=3478)
        tcp = Listener(transport="tcp", port=443, interface="10.0.0.5")
        ports = self.ports(udp, tcp)
        self.assertEqual((ports.counts(), ports.dropped()), ({}, Counter()))
        ports.start()
        self.assertEqual(
            self.reactor.asked, [("udp", "", 3478), ("tcp", "10.0.0.5", 443)]
        )
        # On all addresses, with the descriptor of the process before.
        ((host, number, _, public, descriptor),) = self.opened
        self.assertEqual((host, number, public, descriptor), ("0.0.0.0", 3478, (), 7))
        self.assertEqual([one for one, _ in ports.ports], [udp, tcp])
        self.assertEqual(ports.sockets, [ports.udp, ports.tcp])
        self.assertEqual(ports.counts(), {"addresses": 3, "connections": 0})
        self.assertEqual(ports.dropped(), Counter(stun=2))
        self.assertEqual(ports.stop(), [None, ("closed", 443)])
        self.assertEqual(ports.candidates("10.0.0.5"), ())

    def test_a_port_that_cannot_be_opened_is_named(self) -> None:
        for transport in ("udp", "tcp"):
            for refusal in (
                CannotListenError("", 3478, OSError(98, "Address already in use")),
                OSError(13, "Permission denied"),
            ):
                self.reactor.refusal = refusal
                ports = self.ports(Listener(transport=transport, port=3478))
                why = self.assertRaises(ConfigError, ports.start)
                self.assertIn(f"CHIMEGW_WEBRTC_LISTEN {transport}:3478", str(why))
                self.assertEqual(ports.ports, [])
