"""Both directions at once: the negotiated terms, until the end."""

from __future__ import annotations

from attrs import evolve

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.codec.registry import decode, encode
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp import rtcp
from tests.support.rtp_stream import REMOTE, TERMS, StreamTestCase, speech


class AgreementTests(StreamTestCase):
    def test_nothing_is_heard_before_terms_are_negotiated(self) -> None:
        stream = RtpStream(
            PCMU,
            self.ear,
            is_allowed=lambda host: True,
            clock=self.clock.seconds,
            wall_time=lambda: 0.0,
            random32=lambda: 1,
            cname="x",
            gap_filled=self.ear.gap_filled,
        )
        stream.rtp_received(rtp.serialize(0, False, 1, 1, 1, b"\0" * 160), REMOTE)
        self.assertEqual(stream.stats.dropped["early"], 1)
        stream.tick(0.0, 1)
        stream.stop()

    def test_another_codec_on_the_wire_is_transcoded_in_both_directions(self) -> None:
        said = speech(1.0)
        self.stream.agree(evolve(TERMS, codec=PCMA, payload_type=8))
        for at in range(0, len(said), 160):
            self.stream.play(said[at : at + 160])
            self.tick()
        out = decode(PCMA, b"".join(p.payload for p in self.packets()))
        score, _ = correlation(decode(PCMU, said), out)
        self.assertGreater(score, 0.999)
        for number in range(50):
            frame = encode(PCMA, decode(PCMU, said[number * 160 : number * 160 + 160]))
            self.come(number, frame, payload_type=8)
        score, _ = correlation(decode(PCMU, said), decode(PCMU, self.ear.audio))
        self.assertGreater(score, 0.999)

    def test_on_hold_timestamps_advance_and_nothing_is_sent(self) -> None:
        self.tick(2)
        self.stream.agree(evolve(TERMS, sends=False, receives=False))
        self.stream.play(b"\x20" * 160)
        self.tick(10)
        self.assertEqual(len(self.sent), 2)
        heard = len(self.ear.audio)
        self.come(1)
        self.assertEqual(len(self.ear.audio), heard)
        self.assertEqual(self.ear.audio.strip(b"\xff"), b"")
        self.stream.agree(TERMS)
        self.tick()
        before, after = self.packets()[-2:]
        self.assertEqual(
            rtp.sequence_delta(after.sequence_number, before.sequence_number), 1
        )
        self.assertEqual(
            rtp.timestamp_delta(after.timestamp, before.timestamp), 11 * 160
        )

    def test_the_end_is_announced_by_an_rtcp_bye(self) -> None:
        self.tick(10)
        self.stream.stop()
        self.assertTrue(rtcp.parse(self.reports[-1][0]).goodbye)
        before = len(self.sent)
        self.tick(3)
        self.assertEqual(len(self.sent), before)

    def test_after_the_end_nothing_is_heard(self) -> None:
        self.come(1)
        self.stream.stop()
        self.come(2)
        self.assertEqual(len(self.ear.audio), 160)
        self.assertEqual(self.stream.stats.dropped["early"], 1)
