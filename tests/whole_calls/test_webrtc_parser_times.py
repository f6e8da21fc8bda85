"""The time to parse an input of WebRTC is proportional to its length."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sdp.webrtc import parse_answer, parse_offer
from chime_gateway.wire.webrtc.candidate import parse_candidate
from chime_gateway.wire.webrtc.framing import FrameReader
from chime_gateway.wire.webrtc.stun import decode
from tests.support.parser_times import MOST_GROWTH, Filling, Place, growth, streamed

_DIGEST = b":".join([b"2A"] * 32)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\na=ice-ufrag:abcd\r\na=rtcp-mux\r\n"
    b"a=group:BUNDLE 0\r\na=fingerprint:sha-256 "
    + _DIGEST
    + b"\r\na=ice-pwd:0123456789012345678901\r\na=setup:active\r\n"
)
AUDIO = b"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
STUN = bytes.fromhex("000100582112a442b7e7a701bc34d686fa87dfae")

_WORDS = st.lists(
    st.sampled_from(
        (
            *(" ", ":", "2A", "a", "0", "\r\n", "\n", "/", "\r\na=", "udp ", ".", "\t"),
            *(
                "a=candidate:1 1 udp 1 192.0.2.5 1 typ host\r\n",
                "a=mid:0\r\n",
                "=",
                "m",
            ),
            *("a=fingerprint:sha-256 ", "a=group:BUNDLE 0\r\n", "a=ssrc:", "a=setup:"),
            *("m=audio 9 RTP/SAVPF 0\r\n", "a=rtpmap:0 ", "a=ice-ufrag:", " typ host"),
        )
    ),
    max_size=3,
).map(lambda words: "".join(words).encode())
FILLINGS = st.builds(Filling, _WORDS, _WORDS.filter(bool), _WORDS)
_BYTES = st.binary(max_size=9)
BYTES = st.builds(Filling, _BYTES, _BYTES.filter(bool), _BYTES)


def candidate(data: bytes) -> None:
    parse_candidate(data.decode("utf-8", "replace"))


TEXTS = [
    *(
        Place("offer", parse_offer, before + start)
        for before in (SDP, SDP + AUDIO)
        for start in (b"", b"a=candidate:", b"a=fingerprint:sha-256 ", b"a=mid:")
    ),
    Place("attributes before the audio", parse_offer, SDP, AUDIO, 14_000),
    Place("sections", parse_answer, SDP + AUDIO),
    Place("candidate", candidate),
    Place("candidate", candidate, b"1 1 udp 1 192.0.2.5 1 typ host "),
]
PACKETS = [
    Place("STUN", decode),
    Place("STUN", decode, STUN, most=1500),
    *(
        Place("frames", streamed(FrameReader, n), has_lengths=True)
        for n in (50, 70_000)
    ),
]


class WebRtcParserTimesTests(SynchronousTestCase):
    def check(self, places: list[Place], filling: Filling, at: int) -> None:
        place = places[at % len(places)]
        self.assertLessEqual(growth(place, filling), MOST_GROWTH, place)

    @settings(max_examples=40)
    @given(FILLINGS, st.integers(0, 99))
    def test_descriptions(self, filling: Filling, at: int) -> None:
        self.check(TEXTS, filling, at)

    @settings(max_examples=40)
    @given(BYTES, st.integers(0, 99))
    def test_packets(self, filling: Filling, at: int) -> None:
        self.check(PACKETS, filling, at)
