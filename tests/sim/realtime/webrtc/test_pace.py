from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.webrtc.pace import Pace


class PaceTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(1, 300), min_size=1, max_size=20))
    def test_so_many_beats_as_time_has_passed_however_it_passes(
        self, steps_ms: list[int]
    ) -> None:
        clock = Clock()
        pace = Pace(clock)
        beats: list[float] = []
        pace.join(lambda: beats.append(clock.seconds()))
        for step in steps_ms:
            clock.advance(step / 1000)
        # A step may end a hair before the beat that is due at its end.
        self.assertLessEqual(abs(len(beats) - sum(steps_ms) / 20), 1.0)

    def test_nobody_there_and_nothing_beats(self) -> None:
        clock = Clock()
        pace = Pace(clock)
        beats: list[int] = []

        def once() -> None:
            beats.append(1)
            pace.leave(once)

        pace.join(once)
        clock.advance(1)
        self.assertEqual((beats, clock.getDelayedCalls()), ([1], []))
        pace.join(once)
        pace.leave(once)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_what_stood_still_for_long_does_not_make_up_for_it(self) -> None:
        clock = Clock()
        pace = Pace(clock)
        beats: list[int] = []
        pace.join(lambda: beats.append(1))
        clock.advance(60)
        self.assertEqual(len(beats), 1)
        clock.advance(1)
        self.assertIn(len(beats), (50, 51, 52))
