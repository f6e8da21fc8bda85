"""The caller, on a line that only listens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan, SimulatedCaller
from chime_gateway.sim.caller.playout import PlayoutBuffer

FRAME_SECONDS = 0.02

KEYS = st.lists(
    st.tuples(
        st.integers(0, 800).map(lambda frames: frames * FRAME_SECONDS),
        st.sampled_from("0123456789*#"),
    ),
    max_size=8,
)


class Line:
    """
    @ivar pressed: keys, with the number of frames sent before.
    """

    says_clear = True

    def __init__(self, clock: Clock) -> None:
        self.playout = PlayoutBuffer(PCMU, clock, lambda name: None)
        self.frames = 0
        self.pressed: list[tuple[int, str]] = []
        self.is_over = False

    def begin(self) -> None:
        """Nothing is said."""

    def send_frame(self, frame: bytes, number: int) -> None:
        self.frames = number

    def press(self, digit: str) -> None:
        self.pressed.append((self.frames, digit))

    def hang_up(self) -> None:
        self.is_over = True


class KeysTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(KEYS, st.integers(1, 3), st.sampled_from((0.0, 0.4)), st.booleans())
    def test_each_key_is_pressed_at_its_time_and_before_the_end(
        self,
        keys: list[tuple[float, str]],
        utterances: int,
        answer_seconds: float,
        waits: bool,
    ) -> None:
        clock = Clock()
        line = Line(clock)
        plan = CallPlan(
            utterances=(b"\x10" * 4_000,) * utterances,
            wait_for_greeting=waits,
            answer_seconds=1.5,
            keys=tuple(keys),
        )
        caller = SimulatedCaller(plan, PCMU, clock, line)
        caller.start()
        said = 0.0
        while not line.is_over:
            self.assertLess(clock.seconds(), 60)
            clock.advance(FRAME_SECONDS)
            if answer_seconds and clock.seconds() - said > 2.1:
                said = clock.seconds()
                line.playout.play(b"\x10" * int(answer_seconds * 8_000))
                caller.audio_came(int(answer_seconds * 8_000))
        expected = sorted(keys, key=lambda key: key[0])
        self.assertEqual([digit for _, digit in line.pressed], [d for _, d in expected])
        self.assertEqual(caller.report.keys, "".join(digit for _, digit in expected))
        for (frames, _), (seconds, _) in zip(line.pressed, expected, strict=True):
            self.assertLessEqual(abs(frames - seconds / FRAME_SECONDS), 1.01)
        caller.stop()

    def test_whoever_has_said_all_waits_for_an_answer_to_the_last_key(self) -> None:
        clock = Clock()
        line = Line(clock)
        plan = CallPlan(
            utterances=(b"\x10" * 800,), answer_seconds=2.0, keys=((6.0, "1"),)
        )
        caller = SimulatedCaller(plan, PCMU, clock, line)
        caller.start()
        for _ in range(350):
            clock.advance(FRAME_SECONDS)
        self.assertFalse(line.is_over)
        line.playout.play(b"\x10" * 1_600)
        caller.audio_came(1_600)
        while not line.is_over:
            clock.advance(FRAME_SECONDS)
        self.assertEqual((caller.report.keys, caller.report.unanswered), ("1", 1))
        self.assertEqual(len(caller.report.answer_latencies), 1)
        self.assertAlmostEqual(caller.report.answer_latencies[0], 1.0, places=1)
