from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.webrtc.pace import Pace


class PaceTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(1, 300), min_size=1, max_size=20))
    def test_the_number_of_beats_follows_the_elapsed_time(
        self, steps_ms: list[int]
    ) -> None:
        clock = Clock()
        pace = Pace(clock)
        beats: list[float] = []
        pace.join(lambda: beats.append(clock.seconds()))
        for step in steps_ms:
            clock.advance(step / 1000)
        # Rounding may end a step just before the beat that is due at its end.
        self.assertLessEqual(abs(len(beats) - sum(steps_ms) / 20), 1.0)

    def test_there_are_no_beats_without_members(self) -> None:
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

    def test_a_long_stall_is_not_caught_up(self) -> None:
        clock = Clock()
        pace = Pace(clock)
        beats: list[int] = []
        pace.join(lambda: beats.append(1))
        clock.advance(60)
        self.assertEqual(len(beats), 1)
        clock.advance(1)
        self.assertIn(len(beats), (50, 51, 52))
