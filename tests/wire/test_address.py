from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.address import canonical, is_destination, mapped


class AddressTests(SynchronousTestCase):
    def test_each_address_has_one_canonical_form(self) -> None:
        for text, expected in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:C000:0201", "192.0.2.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("host.example", "host.example"),
            ("a:b", "a:b"),
        ):
            self.assertEqual(canonical(text), expected)

    def test_destinations_are_single_hosts(self) -> None:
        for text in ("192.0.2.1", "2001:db8::1", "127.0.0.1", "::1"):
            self.assertTrue(is_destination(text), text)
        for text in (
            *("", "host", "fe80::1%eth0", "224.0.0.1", "ff02::1", "0.0.0.0", "::"),
            *("255.255.255.255", "010.0.0.1", "1.2.3", "[::1]"),
        ):
            self.assertFalse(is_destination(text), text)

    @settings(max_examples=100, deadline=None)
    @given(st.ip_addresses(v=4).map(str))
    def test_a_mapped_ipv4_address_is_converted_back(self, host: str) -> None:
        self.assertEqual(canonical(mapped(host)), host)
        self.assertEqual(mapped(mapped(host)), mapped(host))

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=50))
    def test_any_text_is_accepted(self, text: str) -> None:
        self.assertEqual(canonical(canonical(text)), canonical(text))
        is_destination(text)
