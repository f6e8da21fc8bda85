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


class Packets:
    """@ivar sent: when, and what."""

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
    def test_silence_is_sent_while_nothing_comes(self) -> None:
        for _ in range(100):
            self.beat()
        self.assertEqual({frame for _, frame in self.packets.sent}, {None})
        self.assertLess(abs(len(self.packets.sent) - 100), 4)

    def test_what_comes_goes_at_once(self) -> None:
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

    def test_a_burst_is_sent_in_its_time_and_none_of_its_words_is_lost(self) -> None:
        """As of a caller whom a new session is to hear again."""
        words = [loud(n) for n in range(200)]
        self.beat(*words)
        for number in range(200, 400):
            self.beat(loud(number))
        for _ in range(400):
            self.beat(SILENCE)
        self.assertEqual(self.speech(), [loud(n) for n in range(400)])
        self.assertEqual(self.dropped, [])
        # By its pauses it has caught up.
        for _ in range(5):
            self.beat(loud(9))
        self.assertEqual(self.speech()[-1], loud(9))

    def test_what_waits_has_a_bound_and_is_counted(self) -> None:
        self.beat(*(loud(n) for n in range(2000)))
        self.assertGreater(len(self.dropped), 1300)
        self.assertEqual({reason for reason, _ in self.dropped}, {"agent_slow"})

    def test_nobody_waits_for_what_was_due_in_a_stop_of_ours(self) -> None:
        for _ in range(10):
            self.beat()
        self.packets.now += 5.0
        before = len(self.packets.sent)
        self.beat()
        self.assertLess(len(self.packets.sent) - before, 5)
        self.assertGreater(self.packets.passed, 240)


_LOADS = st.lists(st.sampled_from((0, 0, 1, 1, 1, 1, 2, 3, 10)), max_size=200)


class PaceTests(UplinkTestCase):
    """However unevenly a carrier sends."""

    @settings(max_examples=60, deadline=None)
    @given(_LOADS)
    def test_it_is_never_ahead_and_never_silent_and_loses_no_word(
        self, loads: list[int]
    ) -> None:
        self.start()
        number = 0
        for load in loads:
            self.beat(*(loud(number + n) for n in range(load)))
            number += load
        for _ in range(number + 20):
            self.beat()
        self.assertEqual(self.speech(), [loud(n) for n in range(number)])
        times = [at for at, _ in self.packets.sent]
        for count, at in enumerate(times):
            self.assertLessEqual(count * 0.02, at + 0.081)
        gaps = [b - a for a, b in pairwise(times)]
        self.assertLess(max(gaps, default=0.0), 0.15)
