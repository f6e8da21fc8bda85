"""SIP messages: whole, cut, hostile; and what is written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip import (
    MAX_HEADER_LINES,
    MAX_MESSAGE_BYTES,
    BadMessage,
    Request,
    Response,
    Source,
    address_uri,
    answer_to_bad,
    contact_uri,
    content_type,
    format_response,
    header_list,
    parameter,
    parse,
    parse_address,
    split_list,
    stamp_source,
)
from chime_gateway.wire.sipframing import StreamFramer

OPTIONS = (
    b"OPTIONS sip:desk@192.0.2.10 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bKx;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: Ann <sip:ann@198.51.100.7>;tag=a\r\n"
    b"To: <sip:desk@192.0.2.10>\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def request(data: bytes = OPTIONS) -> Request:
    message = parse(data)
    assert isinstance(message, Request)
    return message


class ReadingTests(SynchronousTestCase):
    def test_what_is_read(self) -> None:
        message = request()
        self.assertEqual(message.method, "OPTIONS")
        self.assertEqual(message.uri.user, "desk")
        self.assertEqual((message.cseq, message.cseq_method), (7, "OPTIONS"))
        self.assertEqual((message.from_tag, message.to_tag), ("a", ""))
        self.assertEqual(message.branch, "z9hG4bKx")

    def test_compact_names_and_any_case_are_the_same_headers(self) -> None:
        data = OPTIONS.replace(b"Via:", b"v :").replace(b"From:", b"F:")
        data = data.replace(b"Content-Length", b"CONTENT-LENGTH")
        self.assertEqual(request(data).from_tag, "a")

    def test_parameter_names_have_no_case(self) -> None:
        address = parse_address("<sip:a@b>;TAG=x")
        self.assertEqual(parameter(address, "tag"), "x")
        self.assertIsNone(parameter(address, "lr"))

    def test_lists_are_split_outside_of_quotes_and_brackets(self) -> None:
        value = '"a, b" <sip:x@y;p=1,2>, <sip:z@y> , "q\\"," <sip:w@y>'
        self.assertEqual(
            split_list(value),
            ['"a, b" <sip:x@y;p=1,2>', "<sip:z@y>", '"q\\"," <sip:w@y>'],
        )

    def test_uris_are_kept_as_they_were_written(self) -> None:
        for value, uri in (
            ("<sip:10.0.58.47:5060;alias=10.0.58.47~5060~1>", None),
            ('"A <b>" <sip:a@b;x=%41:1>;expires=3', "sip:a@b;x=%41:1"),
            ("sip:a@b;expires=3", "sip:a@b"),
            ("<sip:a@b?Subject=x>", "sip:a@b?Subject=x"),
        ):
            self.assertEqual(address_uri(value), uri or value.strip("<>"))
        for value in ("", "<>", "<sip:>", "nobody", "<sip:a@b"):
            with self.assertRaises(BadMessage):
                address_uri(value)

    def test_hosts_as_people_name_them_are_hosts(self) -> None:
        data = OPTIONS.replace(b"198.51.100.7", b"sbc_a.gw01").replace(
            b"192.0.2.10", b"pbx1"
        )
        message = request(data)
        self.assertEqual(message.uri.host, "pbx1")
        self.assertEqual(message.via.host, "sbc_a.gw01")
        self.assertEqual(message.from_address.uri.host, "sbc_a.gw01")
        self.assertEqual(parameter(message.from_address, "tag"), "a")

    def test_a_parameter_named_like_pythons_is_a_parameter_refused(self) -> None:
        with self.assertRaises(BadMessage):
            parse_address("<sip:a@b>;self=1")

    def test_several_vias_in_one_header_are_several(self) -> None:
        data = OPTIONS.replace(
            b";rport\r\n", b";rport, SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKy\r\n"
        )
        message = request(data)
        self.assertEqual(message.branch, "z9hG4bKx")
        stamp_source(message, Source("203.0.113.9", 4000))
        self.assertEqual(
            message.headers.getlist("Via"),
            [
                "SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bKx;rport=4000"
                ";received=203.0.113.9",
                "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKy",
            ],
        )

    def test_a_source_that_is_what_via_says_needs_no_stamp(self) -> None:
        data = OPTIONS.replace(b";rport", b"")
        message = request(data)
        stamp_source(message, Source("198.51.100.7", 9))
        self.assertNotIn("received", message.headers["Via"])
        stamp_source(message, Source("198.51.100.8", 9))
        self.assertIn(";received=198.51.100.8", message.headers["Via"])

    def test_a_received_that_lies_is_replaced(self) -> None:
        data = OPTIONS.replace(b";rport", b";received=10.0.0.1;rport=1")
        message = request(data)
        stamp_source(message, Source("198.51.100.8", 9))
        via = message.headers["Via"]
        self.assertEqual(via.count("received="), 1)
        self.assertIn("received=198.51.100.8", via)

    def test_limits(self) -> None:
        for data, status in (
            (OPTIONS + b"x" * MAX_MESSAGE_BYTES, 513),
            (OPTIONS.replace(b"Max", b"X: 1\r\n" * MAX_HEADER_LINES + b"Max"), 513),
            (OPTIONS.replace(b"Max", b"X: " + b"y" * 5000 + b"\r\nMax"), 513),
            (
                OPTIONS.replace(b"Max", (b"X: " + b"y" * 4000 + b"\r\n") * 5 + b"Max"),
                513,
            ),
            (OPTIONS.replace(b"Length: 0", b"Length: 5"), 400),
            (OPTIONS.replace(b"Length: 0", b"Length: " + b"9" * 20), 400),
            (OPTIONS.replace(b"Call-ID: c", b"Call-ID: c d"), 400),
            (OPTIONS.replace(b"Ann", b"\xff\xfe"), 400),
            (OPTIONS.replace(b"Ann", b"A\0n"), 400),
            (OPTIONS.replace(b"Ann", b"A\nVia: x"), 400),
            (OPTIONS.replace(b":5070", b":99999"), 400),
            (OPTIONS.replace(b"To:", b"Too:"), 400),
            (b"\r\n\r\n", 400),
            (b"", 400),
        ):
            with self.assertRaises(BadMessage) as caught:
                parse(data)
            self.assertEqual(caught.exception.status, status, data[:60])

    def test_truncated_anywhere_it_is_no_message_or_a_shorter_body(self) -> None:
        for end in range(len(OPTIONS)):
            with self.assertRaises(BadMessage):
                parse(OPTIONS[:end])

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=400))
    def test_any_bytes_are_a_message_or_a_bad_one(self, data: bytes) -> None:
        try:
            parse(data)
        except BadMessage:
            return
        self.fail(f"{data!r} is no SIP")

    @settings(max_examples=300, deadline=None)
    @given(
        at=st.integers(0, len(OPTIONS) - 1),
        new=st.binary(max_size=8),
        cut=st.integers(0, 6),
    )
    def test_any_change_is_a_message_or_a_bad_one(
        self, at: int, new: bytes, cut: int
    ) -> None:
        data = OPTIONS[:at] + new + OPTIONS[at + cut :]
        try:
            message = parse(data)
            contact_uri(message)
            header_list(message, "Record-Route")
            content_type(message)
            if isinstance(message, Request):
                stamp_source(message, Source("198.51.100.7", 1))
        except BadMessage as bad:
            answer = answer_to_bad(bad, "tag")
            self.assertTrue(answer is None or answer.startswith(b"SIP/2.0 "))


class WritingTests(SynchronousTestCase):
    def test_an_answer_echoes_and_adds_its_tag_once(self) -> None:
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

    def test_no_answer_is_made_to_an_ack_or_a_response(self) -> None:
        for data in (
            OPTIONS.replace(b"OPTIONS", b"ACK").replace(b"Max-Forwards: 70", b"Via: ;"),
            b"SIP/2.0 200 OK\r\nVia: x\r\n\r\n",
        ):
            try:
                parse(data)
            except BadMessage as bad:
                self.assertIsNone(answer_to_bad(bad, "t"))


class FramingTests(SynchronousTestCase):
    STREAM = (
        OPTIONS + b"\r\n\r\n" + OPTIONS.replace(b"Length: 0", b"Length: 3") + b"abc"
    )

    def test_a_stream_is_cut_the_same_however_it_comes(self) -> None:
        whole = StreamFramer().feed(self.STREAM)
        self.assertEqual(len(whole), 2)
        self.assertTrue(whole[1].endswith(b"\r\n\r\nabc"))
        for size in (1, 2, 3, 7, 100):
            framer = StreamFramer()
            found = []
            for at in range(0, len(self.STREAM), size):
                found += framer.feed(self.STREAM[at : at + size])
            self.assertEqual(found, whole)
            self.assertEqual(framer.pings, 1)

    def test_a_stream_that_makes_no_sense_is_given_up(self) -> None:
        for data in (
            OPTIONS.replace(b"Content-Length: 0\r\n", b""),
            OPTIONS.replace(b"Length: 0", b"Length: -1"),
            OPTIONS.replace(b"Length: 0", b"Length: 0\r\nl: 7"),
            OPTIONS.replace(b"Length: 0", b"Length: 99999999"),
            b"x" * 20000,
            OPTIONS.replace(b"Max", b"X: " + b"y" * 20000 + b"\r\nMax"),
        ):
            with self.assertRaises(BadMessage):
                StreamFramer().feed(data)

    def test_blank_lines_are_no_messages(self) -> None:
        framer = StreamFramer()
        self.assertEqual(framer.feed(b"\r\n"), [])
        self.assertEqual(framer.feed(b"\r\n\r\n\r\n\r\n" + OPTIONS), [OPTIONS])
        self.assertEqual(framer.pings, 2)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=20))
    def test_any_stream_is_messages_or_nonsense(self, parts: list[bytes]) -> None:
        framer = StreamFramer()
        try:
            for part in parts:
                for message in framer.feed(part):
                    self.assertIn(b"\r\n\r\n", message)
        except BadMessage:
            return
