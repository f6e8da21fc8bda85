"""The time to parse an input is proportional to its length."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.inbound import caller_info
from chime_gateway.carriers.sip.outbound.target import redirections
from chime_gateway.settings.telephone import (
    dialled,
    is_address,
    is_e164,
    is_number,
    normalised,
    numbers_in,
)
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.address import canonical, is_destination
from chime_gateway.wire.kinesis.matroska import MatroskaReader
from chime_gateway.wire.kinesis.stream_notice import parse_notice
from chime_gateway.wire.media_stream.raw import RawStream
from chime_gateway.wire.media_stream.twilio import TwilioStream
from chime_gateway.wire.realtime.dialects import GA, PREVIEW
from chime_gateway.wire.realtime.reader import RealtimeReader
from chime_gateway.wire.rtp import packet, rtcp
from chime_gateway.wire.rtp.dtmf import info_digit
from chime_gateway.wire.sdp.audio_stream import read_audio
from chime_gateway.wire.sdp.description import parse as parse_description
from chime_gateway.wire.sip.bodies import must_be_understood, session_body
from chime_gateway.wire.sip.dialog import dialog_of_request, dialog_of_response, hop_of
from chime_gateway.wire.sip.digest import Credentials, DigestClient
from chime_gateway.wire.sip.format import answer_to_bad, format_response, stamp_source
from chime_gateway.wire.sip.framing import StreamFramer
from chime_gateway.wire.sip.message import (
    BadMessage,
    Message,
    Request,
    Response,
    Source,
    address_uri,
    parse_address,
    parse_uri,
    parse_via,
    split_list,
    tokens,
)
from chime_gateway.wire.sip.parser import MAX_HEAD_BYTES, call_id_of, parse
from chime_gateway.wire.sip.session_timer import accepted_timer, answer_timer
from chime_gateway.wire.websocket_frame import FrameReader
from tests.support.parser_times import MOST_GROWTH, Filling, Place, growth, streamed

#: The tokens of the grammars, from which nonsense is made as well.
WORDS = (
    *(" ", "\t", "<", ">", '"', "\\", ";", ",", ":", "=", "@", "?", ".", "-", "+"),
    *("*", "#", "(", ")", "[", "]", "{", "}", "/", "%", "&", "$", "!", "|", "_", "\0"),
    *("a", "1", "f", "\u00e9", "\r\n", "\r\n ", "\n", "\n ", "%41", '\\"', "::", "SIP"),
    *(";a=", ";a", 'a="', "sip:", "tel:", "x:", "1s ", "retry in ", "--b", "-a", "a.b"),
    *("a=rtpmap:0 ", "m=audio 1 RTP/AVP ", "\r\nl:", "\r\nv: ", "\\u0061", '":', "[["),
)
_WORDS = st.lists(st.sampled_from(WORDS), max_size=3).map("".join).map(str.encode)
FILLINGS = st.builds(Filling, _WORDS, _WORDS.filter(bool), _WORDS)


_BYTES = st.binary(max_size=9)
BYTES = st.builds(Filling, _BYTES, _BYTES.filter(bool), _BYTES)


def text_of(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


# -- SIP ---------------------------------------------------------------------

HEAD = {
    "Via": "SIP/2.0/TCP 198.51.100.7;branch=z9hG4bKx",
    "From": "<sip:a@b>;tag=a",
    "To": "<sip:c@d>",
    "Call-ID": "c",
    "CSeq": "1 INVITE",
    "Contact": "<sip:a@b>",
}

#: Headers that are echoed, that route, that name the caller, and that are compared.
NAMES = (
    *HEAD,
    *("Record-Route", "Session-Expires", "Supported", "Content-Type", "Max-Forwards"),
    *("P-Asserted-Identity", "User-to-User", "Require", "Content-Length", "X-Gw-Hop"),
    *("WWW-Authenticate", "Authentication-Info", "Content-Disposition", "Timestamp"),
)


def read_message(data: bytes) -> None:
    """Read everything of a message that the gateway uses."""
    call_id_of(data)
    try:
        message = parse(data)
    except BadMessage as bad:
        answer_to_bad(bad, "tag")
        return
    for ask in _ASKED:
        with contextlib.suppress(BadMessage):
            ask(message)


def _request_asked(message: Message) -> None:
    if isinstance(message, Request):
        stamp_source(message, Source("198.51.100.7", 9))
        info = caller_info(message)
        for value in (info.caller, info.called, *info.parameters.values()):
            list(numbers_in(value))
        format_response(message.headers, 200, to_tag="t")
        dialog = dialog_of_request(message, "t")
        dialog.next_hop()
        dialog.request("BYE", "v")


def _response_asked(message: Message) -> None:
    if isinstance(message, Response):
        exchange = DigestClient(Credentials("u", "p"), lambda: "c").exchange("INVITE")
        exchange.challenged(message)
        exchange.headers("sip:a@b")
        exchange.accepted(message)
        redirections(message, SipTrunk(host="a"))
        dialog_of_response(message, "<sip:a@b>;tag=t", "sip:a@b").next_hop()


_ASKED: Sequence[Callable[[Any], object]] = (
    *(_request_asked, _response_asked, accepted_timer, session_body),
    *(must_be_understood, lambda message: answer_timer(message, 90)),
    lambda message: tokens(message, "Supported"),
)


def sip_places() -> list[Place]:
    places = [
        *(Place("URI", text_of(parse_uri), scheme) for scheme in (b"", b"sip:")),
        *(Place("URI", text_of(parse_uri), b"tel:", end) for end in (b"", b"!")),
        *(Place("URI", text_of(parse_uri), b"sip:a@b", end) for end in (b"", b"!")),
        Place("hop", text_of(hop_of), b"sip:"),
        *(Place("address", text_of(parse_address), start) for start in (b"", b'"')),
        Place("address", text_of(parse_address), b"<sip:", b">"),
        Place("address", text_of(parse_address), b"<sip:a@b>;a=", b""),
        Place("address", text_of(parse_address), b"", b"<sip:a1>"),
        Place("address", text_of(parse_address), b"", b"<sip:a@b?c=d>"),
        Place("contact", text_of(address_uri)),
        Place("Via", text_of(parse_via)),
        Place("Via", text_of(parse_via), b"SIP/2.0/UDP a;"),
        Place("list", text_of(split_list)),
        Place("whole message", read_message),
        Place("answer", read_message, b"SIP/2.0 302 "),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in HEAD.items()).encode()
    starts = (b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 302 x\r\n")
    for start in starts:
        for name in NAMES:
            others = b"".join(
                f"{key}: {value}\r\n".encode()
                for key, value in HEAD.items()
                if key != name
            )
            before = start + others + f"{name}: ".encode()
            places.append(Place(name, read_message, before, b"\r\n\r\n", 4000))
    places += [
        Place("request URI", read_message, b"INVITE ", b" SIP/2.0\r\n" + head, 4000),
        Place("head", read_message, starts[0] + head, b"\r\n\r\n", MAX_HEAD_BYTES),
        Place("body", read_message, starts[0] + head + b"\r\n"),
    ]
    multipart = b"Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n"
    places.append(Place("bodies", read_message, starts[0] + head + multipart))
    return places


def framed(step: int) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        framer = StreamFramer()
        for at in range(0, len(data), step):
            framer.feed(data[at : at + step])

    return read


def framing_places() -> list[Place]:
    start = b"INVITE sip:a SIP/2.0\r\n"
    return [
        *(Place("stream", framed(n), has_lengths=True) for n in (100, 100_000)),
        Place("length", framed(100_000), start + b"l: 1", b"1\r\n\r\n", MAX_HEAD_BYTES),
        Place("head of a stream", framed(100), start, b"\r\n\r\n", MAX_HEAD_BYTES),
        Place(
            "body of a stream",
            framed(50),
            start + b"x: " + b"y" * 16_000 + b"\r\nl: 49000\r\n\r\n",
            most=48_000,
        ),
    ]


# -- other inputs ------------------------------------------------------------


def read_description(data: bytes) -> None:
    read_audio(parse_description(data))


SDP = (
    b"v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\nc=IN IP4 198.51.100.9\r\n"
    b"m=audio 36488 RTP/SAVP 0 8\r\n"
)


def sdp_places() -> list[Place]:
    starts = (
        *(b"", b"a=rtpmap:0 ", b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"),
        *(b"a=rtcp:", b"a=ptime:", b"a=sendrecv", b"m=audio 1 RTP/AVP "),
    )
    places = [Place("description", read_description, SDP + start) for start in starts]
    places.append(Place("description", read_description))
    for kind in ("application/dtmf", "application/dtmf-relay"):
        places.append(Place(kind, partial(info_digit, kind)))
    return places


def rtp_places() -> list[Place]:
    return [
        Place("RTP", packet.parse, most=1500),
        Place("RTP", packet.parse, bytes(12), most=65_000),
        Place("RTP extended", packet.parse, b"\x9f" + bytes(11)),
        Place("RTCP", rtcp.parse, b"\x80\xc9\x00\x01\x00\x00\x00\x01"),
        Place("RTCP", rtcp.parse),
    ]


def messages(make: Callable[[], Any]) -> Callable[[bytes], None]:
    return lambda data: make().receive(data, False)


def frames() -> FrameReader:
    return FrameReader(masked=True, max_payload_bytes=1 << 20)


def web_places() -> list[Place]:
    start = b'{"event": "start", "start": {"customParameters": {"'
    places = [
        *(Place("frames", streamed(frames, n), has_lengths=True) for n in (50, 70_000)),
        Place("a frame", streamed(frames, 50), b"\x82\xff" + bytes(5) + b"\1\0\0"),
        Place("frames", streamed(frames, 50), b"\x89\x80" * 3, has_lengths=True),
    ]
    for make in (TwilioStream, RawStream):
        read = messages(make)
        places += [
            Place("stream", read),
            Place("stream", read, b'{"event": "media", "media": {"payload": "', b'"}}'),
            Place("stream", read, b'{"event": "mark", "mark": ', b"}"),
            Place("parameters", read, start, b'": 1}}}'),
            Place("values", read, start + b'a": ', b"}}}"),
        ]
    return places


def azure_places() -> list[Place]:
    places = []
    for dialect in (GA, PREVIEW):
        read = messages(partial(RealtimeReader, dialect))
        error = b'{"type": "error", "error": {"message": "'
        done = b'{"type": "response.done", "response": {"status_details": '
        places += [
            Place("events", read),
            Place("error", read, error, b'"}}'),
            Place("error", read, error + b"try again in ", b'"}}'),
            Place("response", read, done, b"}}"),
            Place("output", read, b'{"type": "response.done", "response": {"', b"}}"),
            Place("audio", read, b'{"type": "response.audio.delta", "delta": "', b'"}'),
        ]
    return places


def aws_places() -> list[Place]:
    ebml = b"\x1a\x45\xdf\xa3\x80"
    segment = ebml + b"\x18\x53\x80\x67\xff"
    notice = b'{"detail-type": "Chime VoiceConnector Streaming Status", "detail": {"'
    notices = text_of(parse_notice)
    media = [
        *(Place("EBML", streamed(MatroskaReader, n), segment) for n in (50, 70_000)),
        Place("EBML", streamed(MatroskaReader, 50), ebml),
        Place("a block", streamed(MatroskaReader, 50), segment + b"\xa3\x20\xff\xff"),
        Place("laced", streamed(MatroskaReader, 70_000), segment + b"\xa3\x41\xff"),
    ]
    return [
        *(evolve(place, has_lengths=True) for place in media),
        Place("notice", notices),
        Place("notice", notices, notice, b"}}"),
    ]


def telephone_places() -> list[Place]:
    reads: tuple[Callable[[str], object], ...] = (
        *(normalised, dialled, is_number, is_address, is_e164, canonical),
        *(is_destination, lambda text: list(numbers_in(text))),
    )
    starts = (b"", b"+", b"tel:", b"sip:")
    return [Place("number", text_of(read), at) for read in reads for at in starts]


class ParserTimesTests(SynchronousTestCase):
    """
    A message that is eight times as long takes about eight times the time, not 64
    times.
    """

    def check(self, places: Sequence[Place], filling: Filling, at: int) -> None:
        place = places[at % len(places)]
        self.assertLessEqual(growth(place, filling), MOST_GROWTH, place)

    def test_quadratic_time_is_detected_and_skipped_parts_are_not(self) -> None:
        def linear(data: bytes) -> None:
            for _ in range(skipped, len(data)):
                pass

        def square(data: bytes) -> None:
            for at in range(0, len(data), 50):
                data[at:].count(b"yy")

        places = [Place("", read, has_lengths=True) for read in (square, linear)]
        filling = Filling(b"", b"x", b"")
        self.assertGreater(growth(places[0], filling), MOST_GROWTH)
        for skipped in (0, 3900, 7900, 15_500, 20_000):
            self.assertEqual(growth(places[1], filling), 0.0, skipped)

    def test_inputs_that_once_took_quadratic_time(self) -> None:
        for places, name, filling in (
            (SIP, "URI", Filling(b"", b"1", b"!")),
            (SIP, "URI", Filling(b"", b"sip:", b"_1")),
            (SIP, "address", Filling(b'"', b'<"', b"")),
            (SIP, "address", Filling(b"", b"<", b"?")),
            (SIP, "bodies", Filling(b"", b" a\n", b"")),
            (FRAMING, "length", Filling(b"", b" ", b"")),
            (FRAMING, "body of a stream", Filling(b"", b"y", b"")),
        ):
            for at, place in enumerate(places):
                if place.name == name:
                    with self.subTest(name=name, filling=filling, at=at):
                        self.check(places, filling, at)

    @settings(max_examples=150, deadline=None)
    @given(FILLINGS, st.integers(0, 10_000))
    def test_sip(self, filling: Filling, at: int) -> None:
        self.check(SIP, filling, at)

    @settings(max_examples=60, deadline=None)
    @given(FILLINGS, st.integers(0, 10_000))
    def test_sip_in_pieces(self, filling: Filling, at: int) -> None:
        self.check(FRAMING, filling, at)

    @settings(max_examples=60, deadline=None)
    @given(FILLINGS, st.integers(0, 10_000))
    def test_session_descriptions_and_keys(self, filling: Filling, at: int) -> None:
        self.check(DESCRIPTIONS, filling, at)

    @settings(max_examples=60, deadline=None)
    @given(BYTES, st.integers(0, 10_000))
    def test_rtp_and_rtcp(self, filling: Filling, at: int) -> None:
        self.check(PACKETS, filling, at)

    @settings(max_examples=80, deadline=None)
    @given(FILLINGS | BYTES, st.integers(0, 10_000))
    def test_frames_and_messages_of_a_media_stream(
        self, filling: Filling, at: int
    ) -> None:
        self.check(WEB, filling, at)

    @settings(max_examples=60, deadline=None)
    @given(FILLINGS, st.integers(0, 10_000))
    def test_events_of_the_service(self, filling: Filling, at: int) -> None:
        self.check(EVENTS, filling, at)

    @settings(max_examples=80, deadline=None)
    @given(FILLINGS | BYTES, st.integers(0, 10_000))
    def test_streams_and_notices_of_kinesis(self, filling: Filling, at: int) -> None:
        self.check(KINESIS, filling, at)

    @settings(max_examples=80, deadline=None)
    @given(FILLINGS, st.integers(0, 10_000))
    def test_telephone_numbers_and_addresses(self, filling: Filling, at: int) -> None:
        self.check(TELEPHONE, filling, at)


SIP, FRAMING, DESCRIPTIONS = sip_places(), framing_places(), sdp_places()
PACKETS, WEB, EVENTS = rtp_places(), web_places(), azure_places()
KINESIS, TELEPHONE = aws_places(), telephone_places()
