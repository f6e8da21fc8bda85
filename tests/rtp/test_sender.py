"""Sent RTP, checked on the wire."""

from __future__ import annotations

import itertools

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.rtp.keys import AES_128_TAG_80, SrtpKeys
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.wire.rtp import packet as rtp
from tests.support.rtp_stream import REMOTE, TERMS, StreamTestCase


class SendingTests(StreamTestCase):
    def test_the_first_packet_does_not_wait_for_the_peer(self) -> None:
        self.tick()
        self.assertEqual(self.sent[0][1], REMOTE)

    def test_numbers_and_timestamps_go_on_over_silence_and_wrap(self) -> None:
        self.tick(3)
        for _ in range(4):
            self.stream.play(b"\x20" * 160)
        self.tick(300)
        self.tick(33000)
        packets = self.packets()
        for before, after in itertools.pairwise(packets):
            self.assertEqual(
                rtp.sequence_delta(after.sequence_number, before.sequence_number), 1
            )
            self.assertEqual(
                rtp.timestamp_delta(after.timestamp, before.timestamp), 160
            )
            self.assertEqual(after.ssrc, before.ssrc)
        self.assertLess(packets[-1].sequence_number, packets[0].sequence_number)
        self.assertLess(packets[-1].timestamp, packets[0].timestamp)
        marked = [n for n, packet in enumerate(packets) if packet.marker]
        self.assertEqual(marked, [3])
        spoken = [n for n, packet in enumerate(packets) if packet.payload[0] == 0x20]
        self.assertEqual(spoken, [3, 4, 5, 6])

    @settings(max_examples=30)
    @given(st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8, unique=True))
    def test_every_new_source_begins_in_the_lower_half(
        self, numbers: list[int]
    ) -> None:
        self.setUp()
        self.random32 = itertools.cycle(numbers).__next__
        keys = SrtpKeys(AES_128_TAG_80, bytes(30), bytes(range(30)))
        self.stream = self.new_stream(evolve(TERMS, keys=keys))
        far = SrtpCodec(SrtpKeys(AES_128_TAG_80, keys.remote, keys.local))
        self.tick(3)
        for data, _ in self.sent:
            self.assertLess(rtp.parse(far.unprotect(data)).sequence_number, 0x8010)
        # Another key: whether rollovers are counted anew must not matter.
        before = self.packets()[0]
        again = evolve(keys, local=bytes(range(1, 31)))
        self.stream.agree(evolve(TERMS, keys=again))
        del self.sent[:]
        self.tick(3)
        first = self.packets()[0]
        self.assertLess(first.sequence_number, 0x8000)
        self.assertNotEqual(first.ssrc, before.ssrc)
        # With the same key the source goes on.
        self.stream.agree(evolve(TERMS, keys=again))
        self.tick()
        self.assertEqual(self.packets()[-1].ssrc, first.ssrc)

    def test_a_late_tick_is_made_up(self) -> None:
        self.tick(due=3)
        self.assertEqual(len(self.sent), 3)

    def test_a_very_late_tick_is_not_made_up(self) -> None:
        self.tick()
        self.tick(due=150)
        self.stream.play(b"\x20" * 160)
        self.tick()
        packets = self.packets()
        self.assertEqual(len(packets), 3)
        steps = [
            rtp.timestamp_delta(b.timestamp, a.timestamp) // 160
            for a, b in itertools.pairwise(packets)
        ]
        self.assertEqual(steps, [150, 1])
        numbers = [packet.sequence_number for packet in packets]
        self.assertEqual((numbers[-1] - numbers[0]) & 0xFFFF, 2)
        self.assertTrue(packets[-1].marker)

    def test_clear_drops_all_that_was_not_sent(self) -> None:
        for _ in range(3):
            self.stream.play(b"\x20" * 160)
        self.tick()
        self.stream.clear()
        self.tick(3)
        heard = [packet.payload[0] for packet in self.packets()]
        self.assertEqual(heard, [0x20, 0xFF, 0xFF, 0xFF])

    def test_any_ptime_carries_the_same_audio_evenly(self) -> None:
        said = bytes(range(160)) + bytes(range(50, 210)) + b"\x33" * 160 * 4
        for ptime in (10, 20, 30, 40, 50, 60):
            for phase in range(0, ptime, 10):
                self.beat(
                    ptime, phase, [said[at : at + 160] for at in range(0, 960, 160)]
                )
                packets = self.packets()
                self.assertEqual({len(p.payload) for p in packets}, {ptime * 8})
                steps = {
                    rtp.timestamp_delta(b.timestamp, a.timestamp)
                    for a, b in itertools.pairwise(packets)
                }
                self.assertEqual(steps, {ptime * 8})
                self.assertEqual(set(self.times), {ptime})
                heard = b"".join(p.payload for p in packets)
                self.assertEqual(heard.strip(b"\xff"), said)
                self.assertEqual(sum(p.marker for p in packets), 1)
                # The wait for a whole packet, and for its beat.
                began = heard.index(said) // 8
                self.assertLessEqual(began, 100 + max(0, ptime - 20) + 2 * ptime)

    def test_a_single_frame_is_sent_although_it_fills_no_packet(self) -> None:
        for ptime in (30, 40, 60):
            self.beat(ptime, 0, [b"\x20" * 160])
            heard = b"".join(p.payload for p in self.packets())
            self.assertEqual(heard.count(b"\x20"), 160)

    def beat(self, ptime: int, phase: int, frames: list[bytes]) -> None:
        """Tick as the metronome does, the call first.  Frames come from 100 ms on."""
        del self.sent[:]
        self.times: list[int] = []
        last = None
        self.stream = self.new_stream(evolve(TERMS, ptime_ms=ptime))
        waiting = list(frames)
        for now in range(0, 600, 10):
            if now >= 100 and now % 20 == 0 and waiting:
                self.stream.play(waiting.pop(0))
            if now >= phase and (now - phase) % ptime == 0:
                before = len(self.sent)
                self.stream.tick(now / 1000, 1)
                self.assertEqual(len(self.sent) - before, 1)
                if last is not None:
                    self.times.append(now - last)
                last = now

    def test_digits_are_events_with_one_marker_and_three_ends(self) -> None:
        self.tick()
        self.assertTrue(self.stream.send_digits("5#"))
        self.tick(60)
        events = [p for p in self.packets() if p.payload_type == 101]
        stamps = sorted(
            {p.timestamp for p in events}, key=lambda s: (s - 2**31) % 2**32
        )
        self.assertEqual(len(stamps), 2)
        for stamp, event in zip(stamps, (5, 11), strict=True):
            group = [p for p in events if p.timestamp == stamp]
            self.assertEqual([p.marker for p in group], [True] + [False] * 9)
            self.assertEqual({p.payload[0] for p in group}, {event})
            ends = [bool(p.payload[1] & 0x80) for p in group]
            self.assertEqual(ends, [False] * 7 + [True] * 3)
            durations = [int.from_bytes(p.payload[2:4]) for p in group]
            self.assertEqual(durations, [*range(160, 1281, 160), 1280, 1280])
        numbers = [p.sequence_number for p in self.packets()]
        steps = {rtp.sequence_delta(b, a) for a, b in itertools.pairwise(numbers)}
        self.assertEqual(steps, {1})

    def test_without_telephone_events_no_digits_are_sent(self) -> None:
        self.stream.agree(evolve(TERMS, telephone_event=None))
        self.assertFalse(self.stream.send_digits("1"))
