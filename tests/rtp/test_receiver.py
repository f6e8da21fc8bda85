"""RTP that comes in, asserted by what is heard."""

from __future__ import annotations

import random

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.wire.rtp.dtmf import key_packets
from tests.support.rtp_stream import REMOTE, StreamTestCase, speech


class ReceivingTests(StreamTestCase):
    def test_what_comes_in_order_is_heard_at_once(self) -> None:
        for number in range(65530, 65550):
            self.come(number, bytes([number & 0x7F]) * 160)
            self.assertEqual(len(self.ear.audio), (number - 65529) * 160)

    def test_loss_reordering_and_duplicates_for_five_minutes(self) -> None:
        said = speech(10.0) * 30
        rng = random.Random(5)
        arrivals: list[tuple[float, int]] = []
        count = len(said) // 160
        for number in range(count):
            if rng.random() < 0.05:
                continue
            delay = 0.03 * rng.random() if rng.random() < 0.1 else 0.004 * rng.random()
            arrivals.append((number * 0.02 + delay, number))
            if rng.random() < 0.01:
                arrivals.append((number * 0.02 + delay + 0.005, number))
        arrivals.sort()
        began = self.clock.seconds()
        tick_at = began
        behind: list[float] = []
        for when, number in arrivals:
            while tick_at <= began + when:
                self.clock.advance(max(0.0, tick_at - self.clock.seconds()))
                self.stream.tick(tick_at, 1)
                tick_at += 0.02
            self.clock.advance(max(0.0, began + when - self.clock.seconds()))
            self.come(number, said[number * 160 : number * 160 + 160])
            behind.append(number + 1 - len(self.ear.audio) / 160)
        self.clock.advance(0.2)
        self.stream.tick(self.clock.seconds(), 1)
        heard = decode(PCMU, self.ear.audio)
        # Compared piece by piece, each found where it belongs.
        whole = decode(PCMU, said)
        for second in (0, 60, 150, 290):
            part = slice(second * 8000, second * 8000 + 40000)
            score, lag = correlation(whole[part], heard[part])
            self.assertGreater(score, 0.9)
            self.assertEqual(lag, 0)
        self.assertLess(max(behind), 8)
        # Delay does not grow: the last minute is no further behind than the first.
        minute = len(behind) // 5
        first, last = sum(behind[:minute]), sum(behind[-minute:])
        self.assertLess(abs(last - first) / minute, 0.5)
        stats = self.stream.refresh_stats()
        self.assertApproximates(stats.lost / count, 0.05, 0.02)
        self.assertGreater(stats.duplicates, 50)
        self.assertGreater(stats.reordered, 100)

    def test_a_third_lost_is_still_as_long_as_it_was(self) -> None:
        rng = random.Random(1)
        last = 0
        for number in range(2000):
            self.tick()
            if rng.random() > 0.3:
                self.come(number)
                last = number
        self.tick(7)
        concealed = self.stream.refresh_stats()
        self.assertGreater(len(self.ear.audio) / 160, (last + 1) * 0.97)
        self.assertLessEqual(len(self.ear.audio) / 160, last + 1)
        self.assertApproximates(concealed.lost, 600, 60)

    def test_strangers_are_not_heard(self) -> None:
        self.come(1)
        self.come(2, source=("203.0.113.1", 1000))
        self.come(2, source=("198.51.100.66", 1000))
        self.assertEqual(len(self.ear.audio), 160)
        self.assertEqual(self.stream.stats.dropped["stranger"], 2)
        self.tick()
        self.assertEqual(self.sent[-1][1], REMOTE)

    def test_a_network_that_is_not_allowed_is_never_latched_onto(self) -> None:
        stranger = ("203.0.113.1", 1000)
        self.come(1, source=stranger)  # nobody has spoken yet
        self.come(2)
        self.clock.advance(10)
        self.come(3, source=stranger)  # and nobody for a while
        self.assertEqual(len(self.ear.audio), 160)
        self.tick()
        self.assertEqual(self.sent[-1][1], REMOTE)
        self.assertEqual(self.stream.stats.dropped["stranger"], 2)

    def test_media_from_behind_nat_is_answered_where_it_came_from(self) -> None:
        nat = ("198.51.100.77", 40000)
        self.tick()
        self.assertEqual(self.sent[-1][1], REMOTE)
        self.come(1, source=nat)
        self.tick()
        self.assertEqual(self.sent[-1][1], nat)
        # It moves only when nothing came from there for a while.
        self.come(2, source=("198.51.100.78", 1))
        self.assertEqual(len(self.ear.audio), 160)
        self.clock.advance(1.5)
        self.come(3, source=("198.51.100.78", 1))
        self.tick()
        self.assertEqual(self.sent[-1][1], ("198.51.100.78", 1))
        # Where the description said it would be, it always may be.
        self.come(4)
        self.tick()
        self.assertEqual(self.sent[-1][1], REMOTE)

    def test_garbage_is_counted_by_kind_and_moves_nothing(self) -> None:
        other = ("198.51.100.50", 9)
        for data, kind in (
            (b"", "short"),
            (b"\x80\0\0", "short"),
            (b"\x40" + b"\0" * 30, "version"),
            (b"\xa0\0" + b"\0" * 20, "padding"),
            (b"\x80\x05" + b"\0" * 30, "payload_type"),
            (b"\x90\0" + b"\0" * 11, "short"),
        ):
            self.stream.rtp_received(data, other)
            self.assertGreater(self.stream.stats.dropped[kind], 0, kind)
        self.tick()
        self.assertEqual(self.sent[-1][1], REMOTE)
        self.assertEqual(self.stream.stats.packets_in, 0)

    def test_another_source_is_believed_at_its_second_packet(self) -> None:
        self.come(1)
        self.come(5000, ssrc=99)
        self.assertEqual(len(self.ear.audio), 160)
        self.come(5001, ssrc=99)
        self.come(5002, ssrc=99)
        self.assertEqual(len(self.ear.audio), 480)
        self.assertEqual(self.stream.stats.dropped["ssrc"], 1)

    def test_a_huge_step_is_believed_at_its_second_packet(self) -> None:
        self.come(1)
        self.come(30000)
        self.assertEqual(len(self.ear.audio), 160)
        self.come(30001)
        self.assertEqual(len(self.ear.audio), 480)

    def test_comfort_noise_and_keys_leave_no_hole(self) -> None:
        self.come(1)
        self.come(2, b"\x40", payload_type=13)
        for number, (marker, payload) in enumerate(key_packets("7", 800, 160)):
            self.come(
                3 + number, payload, payload_type=101, timestamp=480, marker=marker
            )
        self.come(10, timestamp=480 + 1120)
        self.assertEqual(self.ear.digits, "7")
        self.assertEqual(len(self.ear.audio), 480 - 160 + 1120 + 160)
        self.assertEqual(self.stream.refresh_stats().lost, 0)
