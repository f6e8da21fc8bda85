"""Routes, targets and sequence numbers of dialogs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.dialog import (
    Dialog,
    Hop,
    dialog_of_request,
    dialog_of_response,
    hop_of,
)
from chime_gateway.wire.sip.message import BadMessage, Request, Response
from chime_gateway.wire.sip.parser import parse


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
    def test_the_callee_keeps_the_order_of_the_route(self) -> None:
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

    def test_the_caller_reverses_the_route(self) -> None:
        dialog = dialog_of_response(
            answer("Record-Route: <sip:p1;lr>, <sip:p2:5062;lr>\r\n"),
            "<sip:us@d>;tag=ours",
            "sip:dialled@d",
        )
        self.assertEqual(dialog.next_hop(), Hop("p2", 5062))
        self.assertEqual(bye(dialog).cseq, 4)
        plain = dialog_of_response(answer(), "<sip:us@d>;tag=ours", "sip:dialled@d")
        self.assertEqual(plain.next_hop(), Hop("h", 5060, "tcp"))

    def test_requests_for_a_strict_router_are_rewritten(self) -> None:
        dialog = dialog_of_request(
            invite("Record-Route: <sip:old>, <sip:p2;lr>\r\n"), "ours"
        )
        request = bye(dialog)
        self.assertEqual(request.uri_text, "sip:old")
        self.assertEqual(
            request.headers.getlist("Route"), ["<sip:p2;lr>", "<sip:c@h:5070>"]
        )

    def test_older_requests_are_recognized(self) -> None:
        dialog = dialog_of_request(invite(), "ours")
        newer, older = invite(), invite()
        newer.cseq, older.cseq = 10, 8
        self.assertTrue(dialog.in_order(newer))
        self.assertFalse(dialog.in_order(older))

    def test_a_contact_changes_the_target(self) -> None:
        dialog = dialog_of_request(invite(), "ours")
        dialog.refresh_target(invite(contact="Contact: <sip:c@elsewhere>\r\n"))
        self.assertEqual(bye(dialog).uri_text, "sip:c@elsewhere")
        dialog.refresh_target(invite(contact=""))
        self.assertEqual(bye(dialog).uri_text, "sip:c@elsewhere")

    def test_malformed_messages_make_no_dialog(self) -> None:
        for message in (
            invite(contact=""),
            invite(contact="Contact: <http://x>\r\n"),
            invite("Record-Route: nothing\r\n"),
        ):
            with self.assertRaises(BadMessage):
                dialog_of_request(message, "ours")

    def test_the_next_hop_of_a_uri(self) -> None:
        self.assertEqual(hop_of("sips:a@b"), Hop("b", 5061, "tls"))
        self.assertEqual(hop_of("sip:a@[2001:db8::1]:5070"), Hop("2001:db8::1", 5070))
        self.assertEqual(hop_of("sip:b;transport=TLS"), Hop("b", 5061, "tls"))
