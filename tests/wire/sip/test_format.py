from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.format import answer_to_bad, format_response
from chime_gateway.wire.sip.message import BadMessage, Response
from chime_gateway.wire.sip.parser import parse
from tests.wire.sip.test_message import OPTIONS, request


class WritingTests(SynchronousTestCase):
    def test_an_answer_repeats_headers_and_adds_its_tag_once(self) -> None:
        data = OPTIONS.replace(b"Max", b"Record-Route: <sip:a;lr>\r\nMax")
        headers = request(data).headers
        answer = parse(format_response(headers, 200, to_tag="t", body=b"x"))
        assert isinstance(answer, Response)
        self.assertEqual(answer.to_tag, "t")
        self.assertEqual(answer.headers["Record-Route"], "<sip:a;lr>")
        self.assertEqual((answer.status, answer.phrase, answer.body), (200, "OK", b"x"))
        again = parse(format_response(answer.headers, 200, to_tag="other"))
        self.assertEqual(again.to_tag, "t")
        trying = parse(format_response(headers, 100))
        self.assertNotIn("Record-Route", trying.headers.keys())

    def test_an_ack_or_a_response_is_not_answered(self) -> None:
        for data in (
            OPTIONS.replace(b"OPTIONS", b"ACK").replace(b"Max-Forwards: 70", b"Via: ;"),
            b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n",
        ):
            try:
                parse(data)
            except BadMessage as bad:
                self.assertIsNone(answer_to_bad(bad, "t"))
