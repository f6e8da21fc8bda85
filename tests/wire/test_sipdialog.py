"""Routes, targets, order and timers of dialogs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip import BadMessage, Request, Response, parse
from chime_gateway.wire.sipdialog import (
    Dialog,
    Hop,
    dialog_of_request,
    dialog_of_response,
    hop_of,
)
from chime_gateway.wire.siptimer import (
    SessionTimer,
    TooSmall,
    accepted_timer,
    answer_timer,
    min_se,
)


def invite(extra: str = "", contact: str = "Contact: <sip:c@h:5070>\r\n") -> Request:
    message = parse(
        "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n"
        "From: <sip:c@d>;tag=theirs\r\nTo: <sip:a@b>;x=y\r\nCall-ID: i\r\n"
        f"CSeq: 9 INVITE\r\n{contact}{extra}\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


def answer(extra: str = "") -> Response:
    message = parse(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n"
        "From: <sip:us@d>;tag=ours\r\n"
        "To: <sip:a@b>;tag=theirs\r\nCall-ID: i\r\nCSeq: 3 INVITE\r\n"
        f"Contact: <sip:x@h;transport=tcp>\r\n{extra}\r\n".encode()
    )
    assert isinstance(message, Response)
    return message


def bye(dialog: Dialog) -> Request:
    message = parse(dialog.request("BYE", "SIP/2.0/UDP us;branch=z9hG4bKq"))
    assert isinstance(message, Request)
    return message


class DialogTests(SynchronousTestCase):
    def test_the_callee_keeps_the_route_as_it_came(self) -> None:
        dialog = dialog_of_request(
            invite(
                "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n"
                "Record-Route: <sip:p3;lr>\r\n"
            ),
            "ours",
        )
        request = bye(dialog)
        self.assertEqual(
            request.headers.getlist("Route"),
            ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"],
        )
        self.assertEqual(request.uri_text, "sip:c@h:5070")
        self.assertEqual(request.headers["From"], "<sip:a@b>;x=y;tag=ours")
        self.assertEqual(request.cseq, 1)
        self.assertEqual(bye(dialog).cseq, 2)
        self.assertEqual(dialog.next_hop(), Hop("p1", 5060))
        self.assertEqual(dialog.key, ("i", "ours", "theirs"))

    def test_the_caller_reverses_it(self) -> None:
        dialog = dialog_of_response(
            answer("Record-Route: <sip:p1;lr>, <sip:p2:5062;lr>\r\n"),
            "<sip:us@d>;tag=ours",
        )
        self.assertEqual(dialog.next_hop(), Hop("p2", 5062))
        self.assertEqual(bye(dialog).cseq, 4)
        plain = dialog_of_response(answer(), "<sip:us@d>;tag=ours")
        self.assertEqual(plain.next_hop(), Hop("h", 5060, "tcp"))

    def test_a_strict_router_gets_what_it_wants(self) -> None:
        dialog = dialog_of_request(
            invite("Record-Route: <sip:old>, <sip:p2;lr>\r\n"), "ours"
        )
        request = bye(dialog)
        self.assertEqual(request.uri_text, "sip:old")
        self.assertEqual(
            request.headers.getlist("Route"), ["<sip:p2;lr>", "<sip:c@h:5070>"]
        )

    def test_older_requests_are_out_of_order(self) -> None:
        dialog = dialog_of_request(invite(), "ours")
        newer, older = invite(), invite()
        newer.cseq, older.cseq = 10, 8
        self.assertTrue(dialog.in_order(newer))
        self.assertFalse(dialog.in_order(older))

    def test_the_target_moves_with_a_contact(self) -> None:
        dialog = dialog_of_request(invite(), "ours")
        dialog.refresh_target(invite(contact="Contact: <sip:c@elsewhere>\r\n"))
        self.assertEqual(bye(dialog).uri_text, "sip:c@elsewhere")
        dialog.refresh_target(invite(contact=""))
        self.assertEqual(bye(dialog).uri_text, "sip:c@elsewhere")

    def test_what_makes_no_dialog(self) -> None:
        for message in (
            invite(contact=""),
            invite(contact="Contact: <http://x>\r\n"),
            invite("Record-Route: nothing\r\n"),
        ):
            with self.assertRaises(BadMessage):
                dialog_of_request(message, "ours")

    def test_hops(self) -> None:
        self.assertEqual(hop_of("sips:a@b"), Hop("b", 5061, "tls"))
        self.assertEqual(hop_of("sip:a@[2001:db8::1]:5070"), Hop("2001:db8::1", 5070))
        self.assertEqual(hop_of("sip:b;transport=TLS"), Hop("b", 5061, "tls"))


class SessionTimerTests(SynchronousTestCase):
    def test_who_refreshes(self) -> None:
        for extra, we_refresh, requires in (
            ("Session-Expires: 600\r\n", True, False),
            ("Supported: timer\r\nSession-Expires: 600\r\n", False, True),
            ("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n", True, False),
            ("Require: timer\r\nx: 600 ; refresher = UAC\r\n", False, True),
        ):
            timer, headers = answer_timer(invite(extra), 90)
            self.assertEqual(timer, SessionTimer(600, we_refresh))
            self.assertEqual(("Require", "timer") in headers, requires)
        self.assertEqual(answer_timer(invite(), 90), (None, ()))

    def test_times(self) -> None:
        self.assertEqual(SessionTimer(600, True).refresh_after, 300)
        self.assertEqual(SessionTimer(600, False).give_up_after, 568)
        self.assertEqual(SessionTimer(90, False).give_up_after, 60)

    def test_bad_values(self) -> None:
        with self.assertRaises(TooSmall):
            answer_timer(invite("Session-Expires: 60\r\n"), 90)
        with self.assertRaises(BadMessage):
            answer_timer(invite("Session-Expires: x\r\n"), 90)

    def test_what_the_other_side_made_of_ours(self) -> None:
        self.assertIsNone(accepted_timer(answer()))
        timer = accepted_timer(answer("Session-Expires: 200;refresher=uas\r\n"))
        self.assertEqual(timer, SessionTimer(200, False))
        self.assertEqual(min_se(answer("Min-SE: 120\r\n")), 120)
        self.assertIsNone(min_se(answer("Min-SE: x\r\n")))
