"""Gaps in the timestamps, and timestamps that make no sense."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.media.timeline import Timeline
from tests.support.fakes import PlainFilling

RATE = 8000
FRAME = b"\x10" * 160


class TimelineTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.timeline = Timeline(PlainFilling(), RATE)
        self.now = 50.0
        self.began = self.now
        self.heard = b""

    def come(
        self, timestamp: int, payload: bytes = FRAME, *, lost: bool = False
    ) -> None:
        ready: list[bytes] = []
        timestamp &= 0xFFFFFFFF
        self.timeline.place(timestamp, payload, self.now, ready, lost=lost)
        self.heard += b"".join(ready)

    def noise(self, timestamp: int, level: int = 60) -> None:
        ready: list[bytes] = []
        self.timeline.paused(timestamp, level, self.now, ready, lost=False)
        self.heard += b"".join(ready)

    def wait(self, seconds: float) -> bytes:
        """Nothing comes for some time.  Return what is heard meanwhile."""
        before = len(self.heard)
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.heard += self.timeline.fill_pause(self.now, 0.02)
        return self.heard[before:]


class FillingTests(TimelineTestCase):
    def test_a_pause_of_the_sender_is_silence(self) -> None:
        self.come(0)
        self.now += 0.12
        self.come(800)
        self.assertEqual(self.heard, FRAME + b"\xff" * 640 + FRAME)

    def test_a_loss_is_concealed(self) -> None:
        self.come(0)
        self.now += 0.12
        self.come(800, lost=True)
        self.assertEqual(self.heard, FRAME + b"\xee" * 640 + FRAME)

    def test_while_nothing_comes_the_stream_goes_on_a_little_behind(self) -> None:
        self.come(0)
        self.assertEqual(self.wait(0.18), b"")
        self.assertEqual(len(self.wait(0.82)), 7840)
        self.now += 0.02
        self.come(160 + 8000)
        self.assertEqual(len(self.heard), 160 + 8000 + 160)

    def test_an_announced_pause_begins_at_once_with_its_noise_level(self) -> None:
        self.come(0)
        self.noise(160)
        self.assertEqual(self.wait(0.1), b"\x3c" * 640)
        self.noise(160 + 800, 50)
        self.assertEqual(self.wait(0.04)[-160:], b"\x32" * 160)
        self.now += 0.02
        self.come(160 + 1280)
        self.assertEqual(len(self.heard), 160 + 1280 + 160)

    def test_audio_that_comes_too_late_is_left_out(self) -> None:
        self.come(0)
        self.wait(0.5)
        length = len(self.heard)
        for n in range(1, 30):  # after a stall all packets come at once
            self.come(160 * n)
        self.assertEqual(len(self.heard), 30 * 160)
        self.assertEqual(self.timeline.late, length // 160 - 1)

    def test_time_in_which_the_process_stalled_is_not_filled(self) -> None:
        self.come(0)
        self.now += 3.0
        self.timeline.stalled(self.now, 3.0)
        self.assertEqual(self.timeline.fill_pause(self.now, 0.02), b"")
        for n in range(1, 151):
            self.come(160 * n)
        self.assertEqual(self.heard, FRAME * 151)


class OddClockTests(TimelineTestCase):
    def test_a_jump_is_not_filled_and_counted(self) -> None:
        for step in (2**31, 2**31 - 1, 480_000, 2**32 - 8000, 2**32 - 480_000):
            with self.subTest(step):
                self.setUp()
                for n in range(50):
                    self.now += 0.02
                    self.come(n * 160)
                for n in range(50, 100):
                    self.now += 0.02
                    self.come(step + n * 160)
                self.assertEqual(len(self.heard), 100 * 160)
                self.assertEqual(self.timeline.resets, 1)

    def test_a_clock_that_stands_still_in_a_pause_is_not_late_for_long(self) -> None:
        self.come(0)
        self.wait(3.0)
        before = len(self.heard)
        for n in range(1, 101):
            self.now += 0.02
            self.come(n * 160)
        self.assertGreater(len(self.heard) - before, 88 * 160)

    def test_timestamps_that_never_change_lose_no_audio(self) -> None:
        for _ in range(100):
            self.now += 0.02
            self.come(77)
        self.assertEqual(len(self.heard), 100 * 160)

    def test_a_clock_with_jitter_does_not_drift(self) -> None:
        for n in range(3000):
            self.now += 0.02
            self.come(n * 160 + (-9, 0, 9, 4)[n % 4])
        self.assertApproximates(len(self.heard), 3000 * 160, 40)

    def test_a_new_clock_after_a_short_pause_fills_the_local_time(self) -> None:
        self.come(0)
        self.now += 0.14
        self.come(123_456_789)
        self.assertApproximates(len(self.heard), 160 + 0.14 * RATE, 40)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.one_of(st.integers(0, 2**32 - 1), st.integers(-4000, 4000)),
                st.sampled_from((0.0, 0.001, 0.02, 0.1, 0.5)),
                st.sampled_from((0, 1, 80, 160, 480)),
                st.sampled_from(("audio", "lost", "noise", "wait")),
            ),
            max_size=60,
        )
    )
    def test_no_timestamps_make_time_run_faster_than_locally(
        self, steps: list[tuple[int, float, int, str]]
    ) -> None:
        self.setUp()
        came = 0
        timestamp = 0
        for step, after, size, kind in steps:
            self.now += after
            timestamp = (timestamp + step) & 0xFFFFFFFF
            if kind == "wait":
                self.wait(0.3)
            elif kind == "noise":
                self.noise(timestamp)
            else:
                came += size
                self.come(timestamp, b"\x10" * size, lost=kind == "lost")
        most = (self.now - self.began) * 1.001 + 1.0
        self.assertLessEqual(len(self.heard), came + most * RATE)
