"""Bodies of messages: the description is found in nested bodies, too."""

from __future__ import annotations

import base64

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.bodies import must_be_understood, session_body
from chime_gateway.wire.sip.message import BadMessage, Message
from chime_gateway.wire.sip.parser import parse

SDP = b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\n\r\nt=0 0\r\n--x\r\nm=audio 4 RTP/AVP 0\r\n"

#: Valid boundaries (RFC 2046 section 5.1.1), with special characters of regular
#: expressions.
_BOUNDARY = st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=40).map(
    lambda text: text + "9"
)


def message(body: bytes, *headers: str) -> Message:
    head = [
        "INVITE sip:a@192.0.2.10 SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1",
        "From: <sip:b@198.51.100.7>;tag=1",
        "To: <sip:a@192.0.2.10>",
        "Call-ID: 1",
        "CSeq: 1 INVITE",
        "Max-Forwards: 70",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return parse("\r\n".join(head).encode() + b"\r\n\r\n" + body)


@frozen
class Body:
    """
    A body to read.

    @ivar found: the description in it.
    @ivar is_understood: whether all required parts are supported.
    """

    headers: tuple[str, ...]
    content: bytes
    found: bytes | None
    is_understood: bool


def _handling(body: Body, disposition: str) -> Body:
    if not disposition:
        return body
    is_optional = "optional" in disposition.lower()
    return Body(
        (*body.headers, f"Content-Disposition: {disposition}"),
        body.content,
        body.found if body.is_understood or not is_optional else None,
        body.is_understood or is_optional,
    )


_dispositions = st.sampled_from(
    ["", "session", "session;handling=required", 'session; Handling="OPTIONAL"']
)

_descriptions = st.builds(
    _handling,
    st.sampled_from(
        [
            Body(("Content-Type: application/sdp",), SDP, SDP, True),
            Body(("content-type:Application/SDP; charset=x",), SDP, SDP, True),
            Body(
                ("Content-Type: application/sdp", "Content-Transfer-Encoding: binary"),
                SDP,
                SDP,
                True,
            ),
            Body(
                ("Content-Transfer-Encoding: Base64", "Content-Type: application/sdp"),
                base64.encodebytes(SDP),
                SDP,
                True,
            ),
            Body(
                ("Content-Type: application/sdp", "Content-Encoding: gzip"),
                b"\x1f\x8b",
                None,
                False,
            ),
            Body(
                ("Content-Type: application/sdp", "Content-Transfer-Encoding: x-y"),
                SDP,
                None,
                False,
            ),
        ]
    ),
    _dispositions,
)
_others = st.builds(
    _handling,
    st.sampled_from(
        [
            Body(
                ("Content-Type: application/isup;version=x",),
                b"\0\r\n\xff",
                None,
                False,
            ),
            Body(("Content-Type: application/pidf+xml",), b"<x/>", None, False),
            Body((), b"", None, False),
        ]
    ),
    st.sampled_from(["", "signal;handling=optional", "render ;x=y;HANDLING=optional"]),
)
_early = st.sampled_from(
    [
        Body(
            (
                "Content-Type: application/sdp",
                "Content-Disposition: early-session;handling=optional",
            ),
            b"v=0\r\n",
            None,
            True,
        ),
    ]
)


def _wrapped(
    parts: list[Body], kind: str, boundary: str, around: bytes, disposition: str
) -> Body:
    if any(f"--{boundary}".encode() in part.content for part in parts):
        boundary = f"{boundary}={len(parts)}x{max(len(p.content) for p in parts)}"
    content = around
    for part in parts:
        head = "".join(f"{line}\r\n" for line in part.headers).encode()
        content += (
            f"--{boundary}\r\n".encode() + head + b"\r\n" + part.content + b"\r\n"
        )
    content += f"--{boundary}--\r\n".encode() + around
    if kind == "alternative":
        good = [p for p in parts if p.is_understood and p.found is not None]
        found = good[-1].found if good else None
        is_understood = bool(good)
    else:
        found = next((p.found for p in parts if p.found is not None), None)
        is_understood = all(part.is_understood for part in parts)
    quoted = f'Content-Type: multipart/{kind};x="a;b" ;boundary="{boundary}"'
    return _handling(Body((quoted,), content, found, is_understood), disposition)


_bodies = st.recursive(
    st.one_of(_descriptions, _others, _early),
    lambda inner: st.builds(
        _wrapped,
        st.lists(inner, min_size=1, max_size=4),
        st.sampled_from(["mixed", "mixed", "alternative", "parallel"]),
        _BOUNDARY,
        st.sampled_from([b"", b"for whom cannot read this\r\n"]),
        _dispositions,
    ),
    max_leaves=8,
)


def _depth(body: Body) -> int:
    return body.content.count(b"multipart/")


class BodyTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(_bodies)
    def test_nested_descriptions_are_found_and_required_parts_refused(
        self, body: Body
    ) -> None:
        if _depth(body) > 4:
            return  # deeper than the limit
        request = message(body.content, *body.headers)
        if not body.content:
            self.assertEqual(session_body(request), b"")
        elif body.is_understood:
            self.assertEqual(session_body(request), body.found or b"")
        else:
            with self.assertRaises(BadMessage) as caught:
                session_body(request)
            self.assertEqual(caught.exception.status, 415)

    def test_a_boundary_must_be_alone_in_its_line(self) -> None:
        inner = (
            b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--bb\r\n --b\r\n--b"
        )
        for end in (b"--\r\n", b"--", b"-- \t\r\nafter", b"\r\nX: y\r\n\r\n--b--"):
            request = message(inner + end, "Content-Type: multipart/mixed;boundary=b")
            if end.startswith(b"\r\n"):
                self.assertRaises(BadMessage, session_body, request)
            else:
                self.assertEqual(session_body(request), b"v=0\r\n--bb\r\n --b")
        bare = inner.replace(b"\r\n", b"\n") + b"--"
        request = message(bare, "c: multipart/mixed; boundary=b")
        self.assertEqual(session_body(request), b"v=0\n--bb\n --b")

    def test_of_related_parts_the_first_is_used(self) -> None:
        parts = (
            b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n"
            b"--b\r\nContent-Type: application/pkcs7-signature\r\n\r\n\0\r\n--b--"
        )
        for kind in ("signed", "related"):
            request = message(parts, f"Content-Type: multipart/{kind}; boundary=b")
            self.assertEqual(session_body(request), b"v=0")

    def test_malformed_and_excessive_bodies_are_rejected(self) -> None:
        many = b"--b\r\nContent-Disposition: x;handling=optional\r\n\r\n" * 200
        for content, kind in (
            (b"x", "multipart/mixed"),
            (b"x", "multipart/mixed;boundary="),
            (b"x", "multipart/mixed;boundary=" + "b" * 71),
            (many, "multipart/mixed;boundary=b"),
        ):
            with self.assertRaises(BadMessage) as caught:
                session_body(message(content, f"Content-Type: {kind}"))
            self.assertEqual(caught.exception.status, 400)
        nested = SDP
        kind = "application/sdp"
        for level in range(100):
            head = f"--{level}\r\nContent-Type: {kind}\r\n\r\n".encode()
            nested = head + nested + f"\r\n--{level}--".encode()
            kind = f"multipart/mixed;boundary={level}"
        with self.assertRaises(BadMessage):
            session_body(message(nested, f"Content-Type: {kind}"))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300), st.text('multipar/;="\\ bxed-', max_size=60))
    def test_any_bytes_are_a_body_or_an_error(self, content: bytes, kind: str) -> None:
        for value in (kind, "multipart/mixed;boundary=b"):
            try:
                request = message(b"--b\r\n" + content, f"Content-Type: {value}")
            except BadMessage:
                continue
            must_be_understood(request)
            try:
                session_body(request)
            except BadMessage:
                continue

    def test_optional_bodies_may_be_ignored(self) -> None:
        optional = "Content-Disposition: alert;handling=optional"
        for headers, is_required in (((), True), ((optional,), False)):
            request = message(b"x", "Content-Type: a/b", *headers)
            self.assertEqual(must_be_understood(request), is_required)
        self.assertFalse(must_be_understood(message(b"")))
