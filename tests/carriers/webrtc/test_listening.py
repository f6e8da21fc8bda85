"""Which addresses callers are told."""

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

    def test_the_public_address_is_all_that_is_told(self) -> None:
        self.assertEqual(
            self.told("10.0.0.5", public="198.51.100.204"),
            ["udp 198.51.100.204 3000"],
        )

    def test_otherwise_where_the_offer_came_in(self) -> None:
        self.assertEqual(self.told("10.0.0.9"), ["udp 10.0.0.9 3000"])
        self.assertEqual(self.told("::ffff:10.0.0.9"), ["udp 10.0.0.9 3000"])
        both = self.told("fd00::9", ("udp", "::"))
        self.assertEqual(both, ["udp fd00::9 3000"])

    def test_loopback_is_for_this_machine_and_the_rest_for_others(self) -> None:
        """A proxy on the same machine asks there, and so does a browser."""
        places = ["udp 127.0.0.1 3000", "udp 10.0.0.5 3000"]
        self.assertEqual(self.told("127.0.0.1"), places)
        six = self.told("::1", ("udp", "::"))
        self.assertEqual(six[0], "udp ::1 3000")
        self.assertIn("udp fd00::5 3000", six)
        # A socket of Unix has no address.
        self.assertEqual(self.told(""), ["udp 10.0.0.5 3000"])

    def test_an_interface_of_its_own_is_where_it_is(self) -> None:
        told = self.told("10.0.0.9", ("udp", "10.1.1.1"), ("tcp", "10.1.1.1"))
        self.assertEqual(told, ["udp 10.1.1.1 3000", "tcp 10.1.1.1 3001"])

    def test_a_port_of_ipv4_is_not_told_to_be_at_an_address_of_ipv6(self) -> None:
        self.assertEqual(self.told("fd00::9"), ["udp 10.0.0.5 3000"])
        self.patch(listening, "local_address_to", lambda host: "127.0.0.1")
        self.assertEqual(self.told("fd00::9"), ["udp 127.0.0.1 3000"])
