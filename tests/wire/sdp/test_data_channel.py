from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sdp.data_channel import (
    RemoteChannel,
    channel_lines,
    read_channel,
)
from chime_gateway.wire.sdp.description import Media, SdpError, parse
from chime_gateway.wire.sdp.webrtc import format_offer, parse_answer, parse_offer
from tests.wire.sdp.test_webrtc import OURS


def section(text: str) -> Media:
    body = f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{text}\r\n"
    return parse(body.encode()).media[0]


class ChannelTests(SynchronousTestCase):
    def test_a_written_section_is_read_back(self) -> None:
        media = section("\r\n".join(channel_lines(41000, 99)))
        self.assertEqual(read_channel(media, is_bundled=False), RemoteChannel(5000, 99))

    def test_missing_values_have_the_defaults_of_the_standard(self) -> None:
        media = section("m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
        self.assertEqual(read_channel(media, is_bundled=False), RemoteChannel())
        media = section(
            "m=application 9 udp/dtls/sctp webrtc-datachannel\r\n"
            "a=sctp-port:7\r\na=max-message-size:0"
        )
        found = read_channel(media, is_bundled=False)
        self.assertEqual((found.port, found.most_message_bytes), (7, 1 << 31))

    def test_a_refused_channel_is_recognized(self) -> None:
        for text in (
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "m=application 9 UDP/BFCP *",
            "m=audio 9 UDP/DTLS/SCTP 0",
            "m=application 9 UDP/DTLS/SCTP x\r\na=sctp-port:0",
            "m=application 9 UDP/DTLS/SCTP x\r\na=sctp-port:70000",
            "m=application 9 UDP/DTLS/SCTP x\r\na=max-message-size:-1",
        ):
            with self.assertRaises(SdpError):
                read_channel(section(text), is_bundled=False)
        media = section("m=application 0 UDP/DTLS/SCTP webrtc-datachannel")
        self.assertEqual(read_channel(media, is_bundled=True), RemoteChannel())

    @given(st.text(st.characters(codec="ascii", categories=("L", "N", "P"))))
    def test_any_value_is_read_or_rejected(self, value: str) -> None:
        for name in ("sctp-port", "max-message-size"):
            line = f"m=application 9 UDP/DTLS/SCTP x\r\na={name}:{value}"
            with contextlib.suppress(SdpError):
                found = read_channel(section(line), is_bundled=False)
                self.assertGreater(found.port, 0)
                self.assertGreater(found.most_message_bytes, 0)


class OfferTests(SynchronousTestCase):
    def test_it_is_offered_beside_audio_with_the_same_transport(self) -> None:
        offer = parse_offer(format_offer(OURS, most_message_bytes=4 << 20))
        self.assertEqual(offer.transport.credentials, OURS.transport.credentials)
        audio, channel = offer.description.media
        self.assertEqual(audio.get("mid"), "0")
        self.assertEqual(channel.get("mid"), "1")
        self.assertIn(("group", "BUNDLE 0 1"), offer.description.attributes)
        for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup"):
            self.assertEqual(channel.values(name), audio.values(name))
        self.assertIsNone(channel.get("rtcp-mux"))

    def test_without_a_channel_the_offer_has_no_section_for_it(self) -> None:
        self.assertNotIn(b"application", format_offer(OURS))

    def test_an_answer_must_match_the_offer(self) -> None:
        both = format_offer(OURS, most_message_bytes=1000)
        both = both.replace(b"setup:actpass", b"setup:active")
        alone = format_offer(OURS).replace(b"setup:actpass", b"setup:active")
        answer = parse_answer(both, has_channel=True)
        self.assertEqual(answer.channel, RemoteChannel(5000, 1000))
        self.assertIsNone(parse_answer(alone).channel)
        self.assertRaises(SdpError, parse_answer, both)
        with self.assertRaises(SdpError):
            parse_answer(alone, has_channel=True)
        refused = both.replace(b"m=application 41000", b"m=application 0")
        with self.assertRaises(SdpError) as caught:
            parse_answer(refused, has_channel=True)
        self.assertIn("the data channel is refused", str(caught.exception))
