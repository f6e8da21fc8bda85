"""Where calls may be sent."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws import sma
from chime_gateway.settings import destinations
from chime_gateway.settings.destinations import (
    destination_fault,
    is_destination_prefix,
)
from chime_gateway.settings.telephone import normalised

#: Beginnings of premium rates, of many countries and kinds.
PREMIUM = (
    *("+1900", "+1212976", "+44909", "+44871", "+4470", "+49900", "+49137", "+3389"),
    *("+34806", "+39899", "+41900", "+43930", "+979", "+881", "+882", "+883", "+870"),
)
LOCAL_PREMIUM = ("0900", "900555", "1900555", "0190")
SAFE = ("+49301", "+44207", "+1212555", "+35191", "+7900", "+81901", "+421905")
HOSTS = ("pbx.example", "evil.example", "pbx.example.evil.example", "10.0.0.1", "")
SEPARATORS = ("", " ", "-", ".", "(", ")", "/", "\u00a0", "\u2013", "_", ",", "\u200b")

digits = st.text("0123456789", min_size=4, max_size=7)


@st.composite
def writings(draw: st.DrawFn, number: str) -> str:
    """One number in some notation."""
    if number.startswith("+") and draw(st.booleans()):
        abroad = draw(st.sampled_from(("00", "011", "0011", "%2B", "%2b", "+")))
        number = abroad + number[1:]
    elif not number.startswith("+") and draw(st.booleans()):
        number = "%3" + number[0] + number[1:]
    elif draw(st.booleans()):
        number = re.sub(r"^\+(44|49|43|41|33|34)", r"+\1(0)", number)
    if "%" not in number and draw(st.integers(0, 9)) == 0:
        wide = {ord(one): 0xFEE0 + ord(one) for one in "+0123456789"}
        number = number.translate(wide)
    at = draw(st.integers(3, len(number)))
    number = number[:at] + draw(st.sampled_from(SEPARATORS)) + number[at:]
    service = draw(st.sampled_from(("", "", "*67", "#31#", "*31#")))
    scheme = draw(st.sampled_from(("", "tel:", "sip:", "SIP:", "sips:", "Sip:")))
    behind = draw(st.sampled_from(("", ";npdi", ";ext=1", ";phone-context=+4930")))
    password = draw(st.sampled_from(("", ":secret"))) if "s" in scheme.lower() else ""
    host = draw(st.sampled_from(HOSTS)) if "s" in scheme.lower() else ""
    tail = draw(st.sampled_from(("", ";user=phone", ";transport=tls"))) if host else ""
    user = f"{service}{number}{behind}{password}"
    return f"{scheme}{user}@{host}{tail}" if host else f"{scheme}{user}"


class PremiumTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(st.data(), st.sampled_from(PREMIUM + LOCAL_PREMIUM), digits)
    def test_no_notation_of_a_premium_rate_is_called_unless_it_is_named(
        self, data: st.DataObject, prefix: str, rest: str
    ) -> None:
        if prefix in LOCAL_PREMIUM:
            rest = f"{rest}0000"[: 10 - len(prefix.lstrip("01"))]
        address = data.draw(writings(prefix + rest))
        for allow in ((), ("+", "sip:", "sips:", "tel:0"), ("sip:@pbx.example",)):
            self.assertTrue(destination_fault(address, allow), (address, allow))

    def test_a_premium_rate_that_is_named_is_called(self) -> None:
        self.assertEqual(destination_fault("+19005551234", ("+1900",)), "")
        named = ("sip:+19005551234@pbx.example",)
        self.assertEqual(destination_fault(named[0], named), "")
        self.assertTrue(destination_fault("+19005551234", ("+1901", "+1")))

    @given(st.sampled_from(SAFE), digits)
    def test_without_a_list_all_other_numbers_are_called(
        self, prefix: str, rest: str
    ) -> None:
        number = prefix + rest
        for address in (number, f"sip:{number}@pbx.example", f"tel:{number}"):
            self.assertEqual(destination_fault(address, ()), "", address)

    def test_a_zero_is_part_of_an_italian_number(self) -> None:
        for number in ("+39089123456", "+390166123456", "+40782123456", "+4930900123"):
            self.assertEqual(destination_fault(number, ()), "", number)

    def test_extensions_short_codes_and_names_are_not_premium_rates(self) -> None:
        for address in ("100", "1900", "900", "sip:desk7", "sip:alice@x.example"):
            self.assertEqual(destination_fault(address, ()), "", address)


class AllowTests(SynchronousTestCase):
    def fault(self, address: str, *allow: str) -> str:
        return destination_fault(address, allow)

    @settings(max_examples=200, deadline=None)
    @given(st.data(), st.sampled_from(SAFE), digits)
    def test_a_number_has_one_destination_in_any_notation(
        self, data: st.DataObject, prefix: str, rest: str
    ) -> None:
        number = prefix + rest
        address = data.draw(writings(number))
        if destination_fault(address, ("+49",)):
            return
        self.assertTrue(number.startswith("+49"), address)
        # On another host, it is another telephone.
        self.assertNotIn("@", address)

    @given(st.sampled_from(SAFE), digits)
    def test_numbers_of_the_list_are_called(self, prefix: str, rest: str) -> None:
        self.assertEqual(self.fault(prefix + rest, "+4", "+1", "+3", "+7", "+8"), "")

    def test_a_host_is_that_host_and_nothing_else_of_the_uri_leads_elsewhere(
        self,
    ) -> None:
        for host in ("@pbx.example", "office@pbx.example"):
            allow = f"sip:{host}"
            for good in (
                "sip:office@pbx.example",
                "sips:office@PBX.example:5061",
                "sip:office@pbx.example;transport=tcp",
            ):
                self.assertEqual(self.fault(good, allow), "", good)
            for bad in (
                "sip:office@pbx.example.evil.example",
                "sip:office@evil.example",
                "sip:office@pbx.example;maddr=198.51.100.1",
                "sip:office@pbx.example?Route=%3Csip:evil.example%3E",
                "sip:office@evil.example@pbx.example",
                "sip:office@pbx.example@evil.example",
                "sip:office",
                "sip:pbx.example",
                "tel:office@pbx.example",
                "office@pbx.example",
            ):
                self.assertTrue(self.fault(bad, allow), bad)
        self.assertTrue(self.fault("sip:officer@pbx.example", "sip:office@pbx.example"))
        self.assertTrue(self.fault("sip:a@pbx.example", "sips:@pbx.example"))

    def test_sip_alone_is_for_names_and_extensions_not_for_numbers(self) -> None:
        for good in ("sip:desk7", "sip:100", "sip:alice@anywhere.example"):
            self.assertEqual(self.fault(good, "sip:"), "", good)
        for bad in ("sip:+4930123456", "sip:0301234567@x", "+4930123456", "100"):
            self.assertTrue(self.fault(bad, "sip:"), bad)

    @given(st.text(max_size=400), st.lists(st.sampled_from(("+4", "sip:", "1"))))
    def test_any_text_has_an_answer(self, address: str, allow: list[str]) -> None:
        self.assertIsInstance(destination_fault(address, allow), str)
        self.assertIsInstance(destination_fault(f"sip:{address}", allow), str)

    def test_an_entry_that_cannot_match_is_refused(self) -> None:
        for good in ("+", "+49", "030", "sip:", "sip:1", "sip:@h", "sips:a@h:5061"):
            self.assertTrue(is_destination_prefix(good), good)
        for bad in ("", "49x", "+49\n", "http:", "sip:a b", "sip:a@", "+49 30", "*"):
            self.assertFalse(is_destination_prefix(bad), bad)


class LambdaTests(SynchronousTestCase):
    def test_the_lambda_has_the_same_text(self) -> None:
        begin, end = "# -- the same in both files -", "# -- until here -"

        def shared(module: object) -> Sequence[str]:
            text = inspect.getsource(module)  # type: ignore[arg-type]
            return text[text.index(begin) : text.index(end)].split("\n")

        self.assertEqual(shared(sma), shared(destinations))

    @settings(max_examples=100, deadline=None)
    @given(st.data(), st.sampled_from(PREMIUM + SAFE), digits)
    def test_the_lambda_reads_numbers_like_the_gateway(
        self, data: st.DataObject, prefix: str, rest: str
    ) -> None:
        address = normalised(data.draw(writings(prefix + rest)))
        for allow in ((), ("+49",), ("+1", "sip:")):
            self.assertEqual(
                sma.destination_fault(address, allow), destination_fault(address, allow)
            )
