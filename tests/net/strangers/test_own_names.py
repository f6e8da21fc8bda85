from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.strangers.own_names import is_own_name
from tests.support.own_names import NAMES

PORTS = st.sampled_from(("", ":80", ":8080"))


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4-mapped address as IPv4."""
    return getattr(address, "ipv4_mapped", None) or address


class OwnNameTests(SynchronousTestCase):
    @given(NAMES, PORTS, st.sampled_from(("10.0.0.1", "::ffff:10.0.0.1")))
    def test_our_own_names_are_accepted_with_any_port(
        self, name: tuple[str, bool], port: str, reached_at: str
    ) -> None:
        self.assertEqual(
            is_own_name(name[0] + port, reached_at, "gw.example.com:8443"), name[1]
        )

    @given(st.ip_addresses(), st.ip_addresses(), PORTS, st.booleans())
    def test_the_reached_address_is_accepted_in_every_notation(
        self,
        dialled: IPv4Address | IPv6Address,
        other: IPv4Address | IPv6Address,
        port: str,
        is_long: bool,
    ) -> None:
        reached_at = str(dialled)
        if dialled.version == 4 and is_long:
            reached_at = f"::ffff:{dialled}"
        for address in (dialled, other):
            text = address.exploded if is_long else str(address)
            host = (text if address.version == 4 else f"[{text}]") + port
            is_ours = plain(address) == plain(dialled) or plain(address).is_loopback
            self.assertEqual(is_own_name(host, reached_at), is_ours)

    @given(st.text(), st.text(), st.text())
    def test_no_text_raises_an_exception(
        self, host: str, reached_at: str, public: str
    ) -> None:
        is_own_name(host, reached_at, public)
