"""The addresses in candidates."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.webrtc import listening
from chime_gateway.carriers.webrtc.listening import WebRtcPorts
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
