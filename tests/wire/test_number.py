"""A number in received data is read as it is written, or rejected."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.media_stream.dialect import Started
from chime_gateway.wire.media_stream.twilio import TwilioStream
from chime_gateway.wire.number import decimal
from chime_gateway.wire.sdp.audio_stream import RemoteAudio, read_audio
from chime_gateway.wire.sdp.description import parse as parse_description
from chime_gateway.wire.sip.framing import StreamFramer
from chime_gateway.wire.sip.message import Response, parse_address, parse_uri
from chime_gateway.wire.sip.parser import parse
from chime_gateway.wire.sip.session_timer import accepted_timer, min_se
from tests.support.sdp_offers import KEY30

#: Texts that C{int} or C{isdecimal} accepts, and numbers near a limit.
NUMBERS = st.sampled_from(
    [
        *("0", "1", "7", "20", "200", "8000", "65535", "65536", "2147483648", "99999"),
        *("9" * 9, "9" * 10, "9" * 40, "9" * 3000, "0" * 20 + "7", "007", "0" * 3000),
        *("", "-1", "+1", "1_0", "\u0663", "\u0662\u0660\u0660", "\u00b2", "\uff17"),
        *("1.0", "1e3", "0x7", "1_", "\ud83d", "a"),
    ]
)

#: Functions that read a number from its place; C{None}: it was not read as a number.
Read: TypeAlias = Callable[[str], int | None]


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def audio(port: str = "36488", lines: str = "", protocol: str = "AVP") -> RemoteAudio:
    text = (
        "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\nc=IN IP4 198.51.100.9\r\n"
        f"m=audio {port} RTP/{protocol} 97 0\r\n{lines}\r\n"
    )
    return read_audio(parse_description(bytes_of(text)))


def rtcp_port(text: str) -> int | None:
    port = audio(lines=f"a=rtcp:{text}").rtcp_port
    return None if port == 36489 else port


def ptime(text: str) -> int | None:
    found = audio(lines=f"a=ptime:{text}").ptime_ms
    return None if found == 20 else found


def tag(text: str) -> int | None:
    line = f"a=crypto:{text} AES_CM_128_HMAC_SHA1_80 inline:{KEY30}"
    cryptos = audio(lines=line, protocol="SAVP").cryptos
    return cryptos[0].tag if cryptos else None


def mapped(text: str, line: str, meant: int) -> int | None:
    """Read one of three numbers, which gives a codec only if all are as meant."""
    found = audio(lines=line.format(text))
    return meant if any(number == 97 for number, _ in found.codecs) else None


def message(**changes: str) -> str:
    given = {"status": "200", "cseq": "1", "length": "0", "port": "5060", "more": "x"}
    return (
        "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP a:{port};branch=z9hG4bKx\r\n"
        "From: <sip:a@b>;tag=a\r\nTo: <sip:c@d>\r\nCall-ID: c\r\n"
        "CSeq: {cseq} INVITE\r\n"
        "Session-Expires: {more}\r\nMin-SE: {more}\r\nContent-Length: {length}\r\n\r\n"
    ).format_map(given | changes)


def response(**changes: str) -> Response:
    found = parse(bytes_of(message(**changes)) + b"x" * 30_000)
    assert isinstance(found, Response)
    return found


def interval(text: str) -> int | None:
    timer = accepted_timer(response(more=text))
    assert timer is not None
    return None if timer.interval == 90 else timer.interval


def cut(text: str) -> int | None:
    for found in StreamFramer().feed(bytes_of(message(length=text)) + b"x" * 30_000):
        return len(found.partition(b"\r\n\r\n")[2])
    return None  # it waits for more data


def rate(text: str) -> int | None:
    start = {"streamSid": "s", "mediaFormat": {"sampleRate": text}}
    event = {"event": "start", "start": start}
    found = TwilioStream().receive(json.dumps(event).encode(), False)
    assert isinstance(found, Started)
    return found.codec.clock_rate


#: The places of numbers, and the smallest and largest allowed number in each.
PLACES: tuple[tuple[str, Read, int, int], ...] = (
    ("port", lambda text: audio(port=text).port, 1, 65_534),
    ("rtcp", rtcp_port, 1, 65_535),
    ("ptime", ptime, 10, 100),
    ("tag", tag, 0, 999_999_999),
    ("type", lambda text: mapped(text, "a=rtpmap:{} PCMU/8000", 97), 97, 97),
    ("rate", lambda text: mapped(text, "a=rtpmap:97 PCMU/{}", 8000), 8000, 8000),
    ("channels", lambda text: mapped(text, "a=rtpmap:97 PCMU/8000/{}", 1), 1, 1),
    ("status", lambda text: response(status=text).status, 100, 699),
    ("CSeq", lambda text: response(cseq=text).cseq, 0, 2**31 - 1),
    ("Content-Length", lambda text: len(response(length=text).body), 0, 30_000),
    ("Via", lambda text: response(port=text).via.port, 1, 65_535),
    ("Session-Expires", interval, 0, 999_999_999),
    ("Min-SE", lambda text: min_se(response(more=text)), 0, 999_999_999),
    ("URI", lambda text: parse_uri(f"sip:a@b:{text}").port, 1, 65_535),
    ("address", lambda text: parse_address(f"<sip:a@b:{text}>").uri.port, 0, 65_535),
    ("framing", cut, 0, 30_000),
    ("sampleRate", rate, 8000, 24_000),
)


class NumberTests(SynchronousTestCase):
    @settings(max_examples=400, deadline=None)
    @given(st.sampled_from(PLACES), NUMBERS | st.integers(-9, 10**10).map(str))
    def test_a_number_is_read_as_written_or_rejected(
        self, place: tuple[str, Read, int, int], text: str
    ) -> None:
        name, read, least, most = place
        try:
            number = read(text)
        except RemoteProtocolError:
            return
        if number is not None:
            self.assertTrue(text.isascii() and text.isdecimal(), (name, text))
            self.assertEqual(number, int(text))
            self.assertTrue(least <= number <= most, (name, number))

    @given(st.integers(0, 10**6), st.integers(0, 10**6))
    def test_no_number_exceeds_its_maximum(self, number: int, most: int) -> None:
        self.assertEqual(decimal(str(number), most), number if number <= most else None)
