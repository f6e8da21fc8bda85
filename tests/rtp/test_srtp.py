"""SRTP: every suite, and what does not belong."""

from __future__ import annotations

from attrs import evolve

from chime_gateway.rtp.srtp import SrtpKeys
from chime_gateway.rtp.stream import Terms
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.sip.sdp import SUITES, Crypto
from tests.rtp.test_stream import REMOTE, RTCP, TERMS, Ear, StreamTestCase


class SrtpTests(StreamTestCase):
    def pair(self, suite: str) -> tuple[Terms, Terms]:
        size = SUITES[suite]
        ours = Crypto(1, suite, bytes(range(size)))
        theirs = Crypto(1, suite, bytes(range(100, 100 + size)))
        return (
            evolve(TERMS, keys=SrtpKeys(ours, theirs)),
            evolve(TERMS, keys=SrtpKeys(theirs, ours)),
        )

    def test_every_suite_carries_audio_and_reports_and_refuses_the_rest(self) -> None:
        for suite in SUITES:
            near, far = self.pair(suite)
            self.ear = Ear()
            a, b = self.new_stream(near), self.new_stream(far)
            del self.sent[:]
            a.play(b"\x21" * 160)
            a.tick(self.clock.seconds(), 1)
            packet = self.sent[0][0]
            tag = 4 if suite.endswith("32") else 10
            self.assertEqual(len(packet), 172 + tag)
            self.assertNotIn(b"\x21" * 8, packet)
            b.rtp_received(packet, REMOTE)
            self.assertEqual(self.ear.audio, b"\x21" * 160)
            b.rtp_received(packet, REMOTE)  # the same again is a replay
            b.rtp_received(packet[:-1] + b"\0", REMOTE)
            b.rtp_received(rtp.serialize(0, False, 9, 9, 9, b"\0" * 160), REMOTE)
            self.assertEqual(b.stats.dropped["srtp"], 3)
            del self.reports[:]
            a.stop()
            b.rtcp_received(self.reports[0][0], RTCP)
            self.assertEqual(b.stats.dropped["rtcp"], 0)
            b.rtcp_received(b"\x80\xc9\0\1\0\0\0\1" * 4, RTCP)
            self.assertEqual(b.stats.dropped["rtcp"], 1)

    def test_the_key_size_is_part_of_what_must_agree(self) -> None:
        near, _ = self.pair("AES_256_CM_HMAC_SHA1_80")
        _, far = self.pair("AES_CM_128_HMAC_SHA1_80")
        a, b = self.new_stream(near), self.new_stream(far)
        del self.sent[:]
        a.tick(self.clock.seconds(), 1)
        b.rtp_received(self.sent[0][0], REMOTE)
        self.assertEqual(b.stats.dropped["srtp"], 1)
