from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.uplink import Uplink
from chime_gateway.audio import PCMU

SILENCE = PCMU.silence(160)


def loud(number: int) -> bytes:
    return bytes((number % 100, number // 100)) * 80


def number_of(frame: bytes) -> int | None:
    """Return the number of a frame; C{None}: it was made from two frames."""
    return frame[0] + 100 * frame[1] if frame == frame[:2] * 80 else None


class Packets:
    """@ivar sent: (time, frame)."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, bytes | None]] = []
        self.passed = 0

    def send_frame(self, frame: bytes | None) -> None:
        self.sent.append((self.now, frame))

    def pass_over(self, frames: int) -> None:
        self.passed += frames


class UplinkTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.start()

    def start(self) -> None:
        self.packets = Packets()
        self.dropped: list[tuple[str, int]] = []
        self.uplink = Uplink(
            self.packets,
            PCMU,
            lambda frame: frame[0] < 100,
            lambda reason, size: self.dropped.append((reason, size)),
            0.0,
        )

    def beat(self, *frames: bytes) -> None:
        for frame in frames:
            self.uplink.add(frame, self.packets.now)
        self.packets.now += 0.02
        self.uplink.tick(self.packets.now)

    def speech(self) -> list[bytes]:
        return [f for _, f in self.packets.sent if f is not None and f != SILENCE]


class UplinkTests(UplinkTestCase):
    def test_silence_is_sent_while_no_audio_arrives(self) -> None:
        for _ in range(100):
            self.beat()
        self.assertEqual({frame for _, frame in self.packets.sent}, {None})
        self.assertLess(abs(len(self.packets.sent) - 100), 4)

    def test_audio_is_sent_at_once(self) -> None:
        for _ in range(20):
            self.beat()
        for number in range(50):
            at = self.packets.now
            self.beat(loud(number))
            self.assertEqual(self.packets.sent[-1], (at, loud(number)))
        self.assertEqual(self.speech(), [loud(n) for n in range(50)])

    def test_odd_sizes_are_cut_to_frames(self) -> None:
        audio = b"".join(loud(n) for n in range(20))
        for at in range(0, len(audio), 100):
            self.uplink.add(audio[at : at + 100], self.packets.now)
            self.packets.now += 0.0125
        self.assertEqual(b"".join(self.speech()), audio)

    def test_a_burst_is_sent_in_real_time_and_little_of_it_is_left_out(
        self,
    ) -> None:
        """A new session hears the last words again while the caller continues."""
        words = [loud(n) for n in range(200)]
        self.beat(*words)
        for number in range(200, 500):
            self.beat(loud(number))
        for _ in range(5):
            self.beat()
        self.assertEqual(self.speech()[-1], loud(499))
        numbers = [n for n in map(number_of, self.speech()) if n is not None]
        self.assertEqual(numbers, sorted(numbers))
        left_out = sum(size for _, size in self.dropped) // 160
        self.assertEqual({reason for reason, _ in self.dropped}, {"overdue"})
        self.assertEqual(len(self.speech()) + left_out, 500)
        self.assertLess(left_out, 205)

    def test_pauses_are_shortened_before_speech(self) -> None:
        self.beat(*(loud(n) for n in range(15)), *[SILENCE] * 40)
        for _ in range(15):
            self.beat(SILENCE)
        for number in range(15, 30):
            self.beat(loud(number))
        for _ in range(5):
            self.beat()
        numbers = [n for n in map(number_of, self.speech()) if n is not None]
        self.assertGreater(len(numbers), 25)
        self.assertLess(len(self.dropped), 3)

    def test_the_backlog_is_limited_and_drops_are_counted(self) -> None:
        self.beat(*(loud(n) for n in range(2000)))
        self.assertGreater(len(self.dropped), 1300)
        self.assertEqual({reason for reason, _ in self.dropped}, {"agent_slow"})

    def test_time_missed_in_a_long_stall_is_skipped(self) -> None:
        for _ in range(10):
            self.beat()
        self.packets.now += 5.0
        before = len(self.packets.sent)
        self.beat()
        self.assertLess(len(self.packets.sent) - before, 5)
        self.assertGreater(self.packets.passed, 240)


_LOADS = st.lists(st.sampled_from((0, 0, 1, 1, 1, 1, 2, 3, 10)), max_size=200)

#: (beats of speech, beats for which the process then stands still)
_STOPS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(2, 250)), min_size=1, max_size=6
)


class PaceTests(UplinkTestCase):
    """However unevenly a carrier sends, and however often the process stands still."""

    def left_out(self) -> int:
        return sum(size for _, size in self.dropped) // 160

    @settings(max_examples=60, deadline=None)
    @given(_LOADS)
    def test_it_is_never_ahead_never_silent_and_reports_each_lost_frame(
        self, loads: list[int]
    ) -> None:
        self.start()
        number = 0
        for load in loads:
            self.beat(*(loud(number + n) for n in range(load)))
            number += load
        for _ in range(number + 20):
            self.beat()
        self.assertEqual(len(self.speech()) + self.left_out(), number)
        numbers = [n for n in map(number_of, self.speech()) if n is not None]
        self.assertEqual(numbers, sorted(numbers))
        times = [at for at, _ in self.packets.sent]
        for count, at in enumerate(times):
            self.assertLessEqual(count * 0.02, at + 0.081)
        gaps = [b - a for a, b in pairwise(times)]
        # Almost four frames ahead, then three behind, before silence is sent.
        self.assertLess(max(gaps, default=0.0), 0.17)

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from((1, 2, 5, 10, 25)), st.integers(0, 24), st.booleans())
    def test_audio_in_larger_pieces_on_time_loses_nothing(
        self, piece: int, at: int, is_silent_first: bool
    ) -> None:
        """After the first pieces nothing is missing."""
        self.start()
        for _ in range(at if is_silent_first else 0):
            self.beat()
        for number in range(0, 500, piece):
            self.beat(*(loud(number + n) for n in range(piece)))
            for _ in range(piece - 1):
                self.beat()
        self.assertEqual(self.dropped, [])

    @settings(max_examples=80, deadline=None)
    @given(_STOPS, st.booleans())
    def test_two_seconds_after_a_stall_it_is_on_time_even_without_pauses(
        self, stops: list[tuple[int, int]], is_read_first: bool
    ) -> None:
        self.start()
        number = 0
        for before, stop in [(60, 0), *stops]:
            for _ in range(before):
                self.beat(loud(number))
                number += 1
            if not stop:
                continue
            self.packets.now += 0.02 * stop
            missed = [loud(number + n) for n in range(stop)]
            number += stop
            if is_read_first:
                self.beat(*missed)
            else:
                self.beat()
                self.beat(*missed, loud(number))
                number += 1
        for _ in range(100):
            self.beat(loud(number))
            number += 1
        late = number - len(self.speech()) - self.left_out()
        self.assertLess(late, 8)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(2, 60), st.booleans())
    def test_no_speech_is_lost_in_a_short_stall(
        self, stop: int, is_read_first: bool
    ) -> None:
        self.start()
        for number in range(50):
            self.beat(loud(number))
        self.packets.now += 0.02 * stop
        if not is_read_first:
            self.beat()
        self.beat(*(loud(50 + n) for n in range(stop)))
        for number in range(50 + stop, 250 + stop):
            self.beat(loud(number))
        numbers = [n for n in map(number_of, self.speech()) if n is not None]
        self.assertEqual(numbers, sorted(numbers))
        # All are heard: two frames may become one, but never fewer.
        self.assertLess(self.left_out(), stop + 5)
        waiting = 250 + stop - len(self.speech()) - self.left_out()
        self.assertTrue(0 <= waiting < 5, waiting)
        if stop <= 8:
            self.assertEqual(self.dropped, [])
