"""Received RTP, checked by the audio that is heard."""

from __future__ import annotations

import random

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp.dtmf import key_packets
from tests.support.rtp_stream import REMOTE, TERMS, StreamTestCase, speech


class ReceivingTests(StreamTestCase):
    def test_packets_in_order_are_heard_at_once(self) -> None:
        for number in range(65530, 65550):
            self.come(number, bytes([number & 0x7F]) * 160)
            self.assertEqual(len(self.ear.audio), (number - 65529) * 160)

    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from(["anew", "moved", "held", "codec", "jump"]),
        st.integers(1, 8),
        st.integers(1, 3),
    )
    def test_held_packets_are_heard_when_the_stream_changes(
        self, change: str, lost: int, behind: int
    ) -> None:
        self.setUp()
        self.come(100, b"\x10" * 160)
        said = [bytes([0x31 + n]) * 160 for n in range(behind)]
        for n, audio in enumerate(said):
            self.come(101 + lost + n, audio)
        if change == "anew":
            for number in (7, 8):
                self.come(number, ssrc=8)
        elif change == "moved":
            place = REMOTE[0], 4000
            self.stream.agree(evolve(TERMS, remote=place))
            self.come(7, ssrc=8, source=place)
        elif change == "held":
            self.stream.agree(evolve(TERMS, receives=False))
        elif change == "codec":
            self.stream.agree(evolve(TERMS, codec=PCMA, payload_type=8))
        else:
            for number in (30_000, 30_001):
                self.come(number)
        self.tick(20)
        for audio in said:
            self.assertEqual(self.ear.audio.count(audio), 1)

    def test_loss_reordering_and_duplicates_do_not_add_up_in_five_minutes(self) -> None:
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
        # Compared in pieces, each at its place.
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

    def test_with_a_third_lost_the_stream_keeps_its_length(self) -> None:
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

    def test_a_source_outside_the_allowed_networks_is_never_accepted(self) -> None:
        stranger = ("203.0.113.1", 1000)
        self.come(1, source=stranger)  # before any audio
        self.come(2)
        self.clock.advance(10)
        self.come(3, source=stranger)  # and after a silence
        self.assertEqual(len(self.ear.audio), 160)
        self.tick()
        self.assertEqual(self.sent[-1][1], REMOTE)
        self.assertEqual(self.stream.stats.dropped["stranger"], 2)

    def test_malformed_packets_are_counted_by_kind_and_change_nothing(self) -> None:
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

    def test_another_source_is_accepted_at_its_second_packet(self) -> None:
        self.come(1)
        self.come(5000, ssrc=99)
        self.assertEqual(len(self.ear.audio), 160)
        self.come(5001, ssrc=99)
        self.assertEqual(len(self.ear.audio), 480)  # with its first packet
        self.assertEqual(self.stream.stats.dropped["ssrc"], 1)

    def test_a_large_step_is_believed_at_the_second_packet(self) -> None:
        self.come(1)
        self.come(30000)
        self.assertEqual(len(self.ear.audio), 160)
        self.come(30001)
        self.assertEqual(len(self.ear.audio), 480)

    def test_comfort_noise_and_dtmf_leave_no_gap(self) -> None:
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

    @settings(max_examples=80, deadline=None)
    @given(
        st.text("0123456789*#ABCD", min_size=1, max_size=6),
        st.lists(
            st.tuples(
                st.integers(0, 120),
                st.integers(0, 0xFFFF),
                st.integers(0, 2**32 - 1),
                st.booleans(),
            ),
            max_size=4,
            # Two errors at once may add up to one that is too small to be seen.
            unique_by=lambda change: change[0],
        ),
    )
    def test_each_dtmf_digit_is_heard_once_whenever_the_source_changes(
        self, keys: str, changes: list[tuple[int, int, int, bool]]
    ) -> None:
        self.setUp()
        ssrc, number, timestamp, sent = 7, 65500, 2**32 - 5000, 0
        began = timestamp
        packets: list[tuple[bool, bytes] | None] = []
        for key in keys:
            packets += [None] * 6
            packets += key_packets(key, 1280, 160)
        packets += [None] * 6
        for packet in packets:
            for at, new_number, new_timestamp, is_same_ssrc in changes:
                if at != sent:
                    continue
                # The same source may begin a new count, too; then by more than packets
                # are reordered (RFC 3550 appendix A.1), after the last of
                # a digit, which may be ten packets ago.
                step = rtp.sequence_delta(new_number, number)
                if is_same_ssrc and -110 <= step <= 3010:
                    continue
                ssrc += not is_same_ssrc
                began = (began - timestamp + new_timestamp) & 0xFFFFFFFF
                number, timestamp = new_number, new_timestamp
            if packet is None or packet[0]:
                began = timestamp
            if packet is None:
                self.come(number, ssrc=ssrc, timestamp=timestamp)
            else:
                self.come(
                    number,
                    packet[1],
                    payload_type=101,
                    ssrc=ssrc,
                    timestamp=began,
                    marker=packet[0],
                )
            number = (number + 1) & 0xFFFF
            timestamp = (timestamp + 160) & 0xFFFFFFFF
            sent += 1
            self.tick()
        self.assertEqual(self.ear.digits, keys)
