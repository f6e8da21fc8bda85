"""Audio over RTP, asserted by what is heard and by what is on the wire."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.codec.registry import decode, encode
from chime_gateway.rtp.stream import RtpStream, Terms
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp import rtcp
from chime_gateway.wire.rtp.dtmf import key_packets

REMOTE = ("198.51.100.9", 36488)
RTCP = ("198.51.100.9", 36489)
TERMS = Terms(
    codec=PCMU,
    payload_type=0,
    telephone_event=101,
    comfort_noise=frozenset({13}),
    ptime_ms=20,
    remote=REMOTE,
    remote_rtcp=RTCP,
)


def speech(seconds: float) -> bytes:
    """Something with pitch, pauses and change, as mu-law."""
    rate = 8000
    t = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(n * phase) / n for n in range(1, 8))
    loud = np.clip(np.sin(2 * np.pi * 1.3 * t) + 0.4, 0, 1)
    return encode(PCMU, (voice * loud * 6000).astype(np.int16))


class Ear:
    def __init__(self) -> None:
        self.audio = b""
        self.digits = ""

    def caller_audio(self, audio: bytes) -> None:
        self.audio += audio

    def digit_pressed(self, digit: str) -> None:
        self.digits += digit


class StreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.wall_ahead = 1_700_000_000.0
        self.ear = Ear()
        self.sent: list[tuple[bytes, Any]] = []
        self.reports: list[tuple[bytes, Any]] = []
        self.stream = self.new_stream()

    def new_stream(self, terms: Terms = TERMS) -> RtpStream:
        stream = RtpStream(
            PCMU,
            self.ear,
            is_allowed=lambda host: host.startswith("198.51.100."),
            clock=self.clock.seconds,
            wall_time=lambda: self.wall_ahead + self.clock.seconds(),
            random32=lambda: 0xFFFFFF00,
            cname="us@192.0.2.1",
        )
        stream.attach(
            lambda data, to: self.sent.append((data, to)),
            lambda data, to: self.reports.append((data, to)),
        )
        stream.agree(terms)
        return stream

    def tick(self, times: int = 1, due: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(0.02 * due)
            self.stream.tick(self.clock.seconds(), due)

    def packets(self) -> list[rtp.RtpPacket]:
        return [rtp.parse(data) for data, _ in self.sent]

    def come(
        self,
        number: int,
        payload: bytes = b"\x10" * 160,
        *,
        payload_type: int = 0,
        ssrc: int = 7,
        timestamp: int | None = None,
        source: tuple[str, int] = REMOTE,
        marker: bool = False,
    ) -> None:
        if timestamp is None:
            timestamp = number * 160
        data = rtp.serialize(
            payload_type, marker, number & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, payload
        )
        self.stream.rtp_received(data, source)


class SendingTests(StreamTestCase):
    def test_the_first_packet_does_not_wait_for_the_other_side(self) -> None:
        self.tick()
        self.assertEqual(self.sent[0][1], REMOTE)

    def test_numbers_and_timestamps_go_on_over_silence_and_wrap(self) -> None:
        self.tick(3)
        for _ in range(4):
            self.stream.play(b"\x20" * 160)
        self.tick(300)
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

    def test_a_late_tick_is_made_up(self) -> None:
        self.tick(due=3)
        self.assertEqual(len(self.sent), 3)

    def test_clear_leaves_nothing_of_what_was_not_sent(self) -> None:
        for _ in range(3):
            self.stream.play(b"\x20" * 160)
        self.tick()
        self.stream.clear()
        self.tick(3)
        heard = [packet.payload[0] for packet in self.packets()]
        self.assertEqual(heard, [0x20, 0xFF, 0xFF, 0xFF])

    def test_any_ptime_carries_the_same_sound(self) -> None:
        said = bytes(range(160)) + bytes(range(50, 210)) + b"\x33" * 160 * 4
        for ptime in (10, 20, 30, 40, 60):
            del self.sent[:]
            self.stream = self.new_stream(evolve(TERMS, ptime_ms=ptime))
            for at in range(0, len(said), 160):
                self.stream.play(said[at : at + 160])
                self.tick()
            self.tick(6)
            packets = self.packets()
            self.assertEqual({len(p.payload) for p in packets}, {ptime * 8})
            steps = {
                rtp.timestamp_delta(b.timestamp, a.timestamp)
                for a, b in itertools.pairwise(packets)
            }
            self.assertEqual(steps, {ptime * 8})
            self.assertTrue(b"".join(p.payload for p in packets).startswith(said))

    def test_another_codec_on_the_wire_is_transcoded_both_ways(self) -> None:
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

    def test_on_hold_time_passes_and_nothing_is_sent(self) -> None:
        self.tick(2)
        self.stream.agree(evolve(TERMS, sends=False, receives=False))
        self.stream.play(b"\x20" * 160)
        self.tick(10)
        self.assertEqual(len(self.sent), 2)
        self.come(1)
        self.assertEqual(self.ear.audio, b"")
        self.stream.agree(TERMS)
        self.tick()
        before, after = self.packets()[-2:]
        self.assertEqual(
            rtp.sequence_delta(after.sequence_number, before.sequence_number), 1
        )
        self.assertEqual(
            rtp.timestamp_delta(after.timestamp, before.timestamp), 11 * 160
        )

    def test_keys_are_events_with_one_marker_and_three_ends(self) -> None:
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

    def test_without_events_there_are_no_keys(self) -> None:
        self.stream.agree(evolve(TERMS, telephone_event=None))
        self.assertFalse(self.stream.send_digits("1"))


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
        self.tick(10)
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
        self.tick()
        self.assertEqual(len(self.ear.audio), 160)
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
        self.assertEqual(len(self.ear.audio), 320)

    def test_comfort_noise_and_keys_leave_no_hole(self) -> None:
        self.come(1)
        self.come(2, b"\x40", payload_type=13)
        for number, (marker, payload) in enumerate(key_packets("7", 800, 160)):
            self.come(
                3 + number, payload, payload_type=101, timestamp=480, marker=marker
            )
        self.come(10, timestamp=480 + 1120)
        self.assertEqual(self.ear.digits, "7")
        self.assertEqual(len(self.ear.audio), 320)
        self.assertEqual(self.stream.refresh_stats().lost, 0)

    def test_before_anything_is_agreed_nothing_is_heard(self) -> None:
        stream = RtpStream(
            PCMU,
            self.ear,
            is_allowed=lambda host: True,
            clock=self.clock.seconds,
            wall_time=lambda: 0.0,
            random32=lambda: 1,
            cname="x",
        )
        stream.rtp_received(rtp.serialize(0, False, 1, 1, 1, b"\0" * 160), REMOTE)
        self.assertEqual(stream.stats.dropped["early"], 1)
        stream.tick(0.0, 1)
        stream.stop()


class ReportTests(StreamTestCase):
    def test_reports_say_what_was_sent_and_what_came(self) -> None:
        for number in range(400):
            if number % 10:
                self.come(number)
            self.tick()
        compound = rtcp.parse(self.reports[-1][0])
        self.assertEqual(self.reports[-1][1], RTCP)
        assert compound.sender_ntp is not None
        report = compound.reports[0]
        self.assertEqual(report.ssrc, 7)
        self.assertApproximates(report.fraction_lost, 0.1, 0.03)
        self.assertApproximates(report.lost, 12, 2)  # of the 125 until then
        self.assertLess(report.jitter, 10)

    def test_what_the_other_side_reports_is_noted(self) -> None:
        self.tick(150)
        ours = rtcp.parse(self.reports[0][0])
        assert ours.ssrc is not None and ours.sender_ntp is not None
        sent_at = 1_700_000_000 + 100 + 0.02 * 125
        reception = rtcp.Reception(0)
        for number in range(0, 50, 2):
            reception.packet(number, number * 160, number * 160)
        block = rtcp.report_block(ours.ssrc, reception, rtcp.ntp_time(sent_at), 0.1)
        self.clock.advance(100 + 2.5 + 0.15 - self.clock.seconds())
        self.clock.advance(100 + 3.0 - self.clock.seconds())
        self.stream.rtcp_received(rtcp.receiver_report(7, block), RTCP)
        self.assertEqual(self.stream.stats.remote_lost, 24)
        round_trip = self.stream.stats.round_trip_seconds
        assert round_trip is not None
        self.assertApproximates(round_trip, self.clock.seconds() - 102.5 - 0.1, 0.01)

    def test_a_wall_clock_that_is_set_changes_no_round_trip(self) -> None:
        for step in (3600.0, -7200.0):
            self.tick(300)
            report = rtcp.parse(self.reports[-1][0])
            assert report.ssrc is not None and report.sender_ntp is not None
            reception = rtcp.Reception(0)
            block = rtcp.report_block(report.ssrc, reception, report.sender_ntp, 0.0)
            self.wall_ahead += step
            self.stream.rtcp_received(rtcp.receiver_report(7, block), RTCP)
            round_trip = self.stream.stats.round_trip_seconds
            assert round_trip is not None
            self.assertLess(round_trip, 8)

    def test_garbage_and_strangers_are_counted(self) -> None:
        self.stream.rtcp_received(b"junk", RTCP)
        self.stream.rtcp_received(b"\x80\xc9\0\1\0\0\0\1", ("203.0.113.1", 1))
        self.assertEqual(self.stream.stats.dropped["rtcp"], 1)
        self.assertEqual(self.stream.stats.dropped["stranger"], 1)

    def test_the_end_is_said(self) -> None:
        self.tick(10)
        self.stream.stop()
        self.assertTrue(rtcp.parse(self.reports[-1][0]).goodbye)
        before = len(self.sent)
        self.tick(3)
        self.assertEqual(len(self.sent), before)
