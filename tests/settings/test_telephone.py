"""Which texts are numbers or addresses, and which are not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.settings.telephone import (
    dialled,
    is_address,
    is_e164,
    is_number,
    normalised,
    numbers_in,
)

#: Neither numbers nor addresses: the text around the number would go into a header.
NONE = (
    *("", "+", "sip:", "tel:", "the moon", "12 34", " +12065550100", "١٢٣٤"),
    *("+12065550100\n", "+12065550100\r\nVia: x", "\n+12065550100", "+1206555-0100"),
    *("sip:", "sip:a b", "sip:a\n", "sip:<a>", "sip:a\x00", "sip:a\x7f", "http://a"),
    *("tel:+1\n", "tel:one", "12345678901234567890123456789012345"),
    *(f"sip:{'a' * 201}", f"tel:{'1' * 41}", "+" + "1" * 10_000),
)


class TelephoneTests(SynchronousTestCase):
    def assertNone(self, check: object, *texts: str) -> None:
        assert callable(check)
        self.assertEqual([text for text in texts if check(text)], [])

    def test_e164_has_a_country_code_and_fifteen_digits_at_most(self) -> None:
        for number in ("+12065550100", "+49", "+123456789012345"):
            self.assertTrue(is_e164(number), number)
        self.assertNone(is_e164, "+1", "+0206555", "+1234567890123456")
        self.assertNone(is_e164, "12065550100", "911", "sip:1@example.com", *NONE)

    def test_a_number_may_be_short_or_local(self) -> None:
        for number in ("+12065550100", "0206555", "911", "11", "+00", "1" * 32):
            self.assertTrue(is_number(number), number)
        self.assertNone(is_number, "1", "+1", "1" * 33, "sip:11", "tel:11", *NONE)

    def test_an_address_is_a_number_or_a_uri(self) -> None:
        for address in (
            *("+12065550100", "911", "sip:1001", "sip:a@example.com;transport=tls"),
            *("sips:a@example.com", "tel:+1-206-555-0100", "tel:911"),
            f"sip:{'a' * 200}",
        ):
            self.assertTrue(is_address(address), address)
        self.assertNone(is_address, "1", *NONE)

    def test_texts_that_are_not_numbers_stay_unchanged(self) -> None:
        for text in (
            "",
            "+",
            "alice",
            "alice.smith;x=y",
            "sip:alice@b",
            "12 34x",
            "()",
        ):
            self.assertEqual(normalised(text), text)
        # A URI also names the host.
        self.assertEqual(dialled("sip:+1-555@b"), "sip:+1-555@b")
        self.assertEqual(normalised("sip:+1-555:pass@b;x=y"), "+1555")
        self.assertEqual(normalised("*67"), "*67")

    def test_a_header_may_name_several(self) -> None:
        value = '"A, <sip:1@x>" <sip:+1-555;cpc=x@h>, <tel:+49.30;npdi>, <sip:alice@h>'
        self.assertEqual(list(numbers_in(value))[-2:], ["+1555", "+4930"])
        self.assertEqual(list(numbers_in(" 030/12 ")), ["03012"])

    @given(st.text("+-.();:%2B0159 @<>tel,sip", max_size=40))
    def test_normalising_a_text_twice_changes_nothing_more(self, text: str) -> None:
        self.assertEqual(normalised(normalised(text)), normalised(text))
        for number in numbers_in(text):
            self.assertEqual(normalised(number), number)
