from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.webrtc.sdp import (
    MAX_BYTES,
    BadOffer,
    format_answer,
    read_offer,
)
from tests.support.webrtc_client import Client, offer


class OfferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Client()

    def test_an_offer_is_read(self) -> None:
        found = read_offer(offer(self.client))
        self.assertEqual((found.ufrag, found.password), ("abcd", "p" * 22))
        self.assertEqual(found.fingerprint, self.client.certificate.fingerprint)
        self.assertEqual((found.codec.name, found.payload_type), ("PCMU", 0))

    def test_media_level_attributes_override_session_level_ones(self) -> None:
        body = offer(self.client).replace(
            b"a=group", b"a=ice-ufrag:other\r\na=setup:active\r\na=group"
        )
        self.assertEqual(read_offer(body).ufrag, "abcd")
        body = offer(self.client, ice_ufrag="-").replace(
            b"a=group", b"a=ice-ufrag:other\r\na=group"
        )
        self.assertEqual(read_offer(body).ufrag, "other")

    def test_a_missing_attribute_is_named(self) -> None:
        for name in ("rtcp-mux", "setup", "ice-ufrag", "ice-pwd", "fingerprint"):
            body = offer(self.client, **{name: "-"})
            with self.subTest(name=name), self.assertRaisesRegex(BadOffer, name):
                read_offer(body)
        for name, value in (
            ("setup", ":active"),
            ("ice-ufrag", ":abc"),
            ("ice-pwd", ":short"),
            ("fingerprint", ":sha-1 00:11"),
            ("fingerprint", ":sha-256 0x"),
        ):
            body = offer(self.client, **{name: value})
            with self.subTest(value=value), self.assertRaisesRegex(BadOffer, name):
                read_offer(body)

    def test_unsupported_audio_is_refused(self) -> None:
        good = offer(self.client)
        for old, new in (
            (b"m=audio 41000", b"m=audio 0"),
            (b"m=audio", b"m=video"),
            (b"SAVPF 0", b"SAVPF 111"),
            (b"UDP/TLS/RTP/SAVPF", b"RTP/AVP"),
            (b"v=0", b"v=1"),
            (b"s=-", "s=é".encode()),
            (b"s=-", b"nonsense"),
            (b"m=audio 41000 UDP/TLS/RTP/SAVPF 0", b"m=audio"),
            (b"s=-", b"s=" + b"x" * MAX_BYTES),
        ):
            with self.subTest(new=new[:20]), self.assertRaises(BadOffer):
                read_offer(good.replace(old, new))

    def test_other_sections_keep_their_place_and_are_rejected(self) -> None:
        channel = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
        found = read_offer(offer(self.client, channel, "a=mid:1"))
        answer = format_answer(
            found,
            session_id=1,
            ufrag="u/+",
            password="p" * 24,
            fingerprint=bytes(32),
            candidates=["1 1 udp 1 127.0.0.1 3478 typ host"],
        ).decode()
        sections = [line for line in answer.splitlines() if line.startswith("m=")]
        self.assertEqual(
            sections,
            [
                "m=audio 9 UDP/TLS/RTP/SAVPF 0",
                "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            ],
        )
        self.assertIn("a=setup:active\r\n", answer)
        self.assertNotIn("a=ice-lite", answer)
        self.assertNotIn("a=ssrc", answer)
        self.assertNotIn("a=rtpmap", answer)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_a_mangled_offer_is_read_or_refused(self, data: st.DataObject) -> None:
        lines = offer(self.client).split(b"\r\n")
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(lines) - 1))
            lines[at] = data.draw(
                st.one_of(st.binary(max_size=30), st.sampled_from(lines))
            )
        with contextlib.suppress(BadOffer):
            read_offer(b"\r\n".join(lines))
