"""SIP messages: complete, truncated and malicious ones; and written ones."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.address import canonical
from chime_gateway.wire.sip.format import answer_to_bad, stamp_source
from chime_gateway.wire.sip.message import (
    BadMessage,
    Request,
    Source,
    address_uri,
    contact_uri,
    content_type,
    header_list,
    parameter,
    parse_address,
    parse_uri,
    parse_via,
    split_list,
)
from chime_gateway.wire.sip.parser import MAX_HEADER_LINES, MAX_MESSAGE_BYTES, parse

#: Parts of a Via; their unusual forms are common.
VIA_PIECES = (
    *("rport", "RPORT=", "rport=1", "received=192.0.2.1", "received=::1", "ttl=1"),
    *('x="a;received=b"', 'x="a;rport"', 'x="a\\";rport"', 'x="', "alias", "a=b=c"),
)

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
    def test_a_request_is_read(self) -> None:
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

    def test_parameter_names_are_case_insensitive(self) -> None:
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

    def test_common_but_invalid_host_names_are_accepted(self) -> None:
        data = OPTIONS.replace(b"198.51.100.7", b"sbc_a.gw01").replace(
            b"192.0.2.10", b"pbx1"
        )
        message = request(data)
        self.assertEqual(message.uri.host, "pbx1")
        self.assertEqual(message.via.host, "sbc_a.gw01")
        self.assertEqual(message.from_address.uri.host, "sbc_a.gw01")
        self.assertEqual(parameter(message.from_address, "tag"), "a")

    def test_a_parameter_named_self_is_rejected(self) -> None:
        with self.assertRaises(BadMessage):
            parse_address("<sip:a@b>;self=1")

    def test_a_name_may_hold_quotes_and_brackets(self) -> None:
        for name, meant in (
            ('"A"', "A"),
            ('"a \\"b\\" <c>"', 'a "b" <c>'),
            ('"a"b"', 'a"b'),
            ("A. B", "A. B"),
            ("", ""),
        ):
            for space in ("", " ", "\t "):
                address = parse_address(f"{name}{space}<sip:x@pbx1;lr>;tag=1")
                self.assertEqual((address.name, address.uri.host), (meant, "pbx1"))
                self.assertEqual(parameter(address, "tag"), "1")

    def test_excessively_long_values_are_rejected(self) -> None:
        self.assertEqual(parse_uri(f"TEL:+{'1' * 63};x=1").user, f"+{'1' * 63}")
        for text in (f"tel:{'1' * 65}", f"tel:{'%31' * 65}", f"sip:{'a' * 1024}@b"):
            with self.assertRaises(BadMessage):
                parse_uri(text)
            with self.assertRaises(BadMessage):
                parse_address(f"<{text}>")
        with self.assertRaises(BadMessage) as caught:
            request(OPTIONS.replace(b"sip:desk", b"sip:" + b"a" * 1024, 1))
        self.assertEqual(caught.exception.status, 414)

    def test_several_vias_in_one_header_are_separate(self) -> None:
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

    def test_a_source_that_matches_via_is_not_added(self) -> None:
        data = OPTIONS.replace(b";rport", b"")
        message = request(data)
        stamp_source(message, Source("198.51.100.7", 9))
        self.assertNotIn("received", message.headers["Via"])
        stamp_source(message, Source("198.51.100.8", 9))
        self.assertIn(";received=198.51.100.8", message.headers["Via"])

    def test_a_wrong_received_parameter_is_replaced(self) -> None:
        data = OPTIONS.replace(b";rport", b";received=10.0.0.1;rport=1")
        message = request(data)
        stamp_source(message, Source("198.51.100.8", 9))
        via = message.headers["Via"]
        self.assertEqual(via.count("received="), 1)
        self.assertIn("received=198.51.100.8", via)

    def test_quoted_text_is_not_a_parameter(self) -> None:
        data = OPTIONS.replace(b";rport", b';x="a;received=b;rport"')
        message = request(data)
        stamp_source(message, Source("198.51.100.8", 9))
        self.assertEqual(
            message.headers["Via"],
            "SIP/2.0/UDP 198.51.100.7:5070;branch=z9hG4bKx"
            ';x="a;received=b;rport";received=198.51.100.8',
        )

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(
            ("198.51.100.7", "[2001:DB8:0::7]", "[::FFFF:10.1.2.3]", "a_b")
        ),
        st.lists(st.sampled_from(VIA_PIECES) | st.text(max_size=12), max_size=4),
        st.sampled_from(("198.51.100.7", "2001:db8::7", "10.1.2.3", "fe80::1%eth0")),
    )
    def test_the_source_is_added_to_any_valid_via(
        self, sent_by: str, pieces: list[str], source: str
    ) -> None:
        text = ";".join((f"SIP/2.0/UDP {sent_by}:5070", "branch=z9hG4bKx", *pieces))
        try:
            message = request(OPTIONS)
            message.via = before = parse_via(text)
        except BadMessage:
            return
        message.headers.setlist("Via", [text])
        stamp_source(message, Source(source, 4000))
        via = parse_via(message.headers["Via"])
        self.assertEqual(via, message.via)
        host = source.partition("%")[0]
        if "rport" in before.parameters:
            self.assertEqual(via.parameters["rport"], "4000")
            self.assertEqual(via.parameters["received"], host)
        elif canonical(sent_by.strip("[]")) != source:
            self.assertEqual(via.parameters["received"], host)
        for name, value in before.parameters.items():
            if name not in ("rport", "received"):
                self.assertEqual(via.parameters[name], value)

    def test_sizes_are_limited(self) -> None:
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

    def test_a_truncated_message_is_rejected_or_has_a_shorter_body(self) -> None:
        for end in range(len(OPTIONS)):
            with self.assertRaises(BadMessage):
                parse(OPTIONS[:end])

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=400))
    def test_any_bytes_are_read_or_rejected(self, data: bytes) -> None:
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
    def test_a_modified_message_is_read_or_rejected(
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
