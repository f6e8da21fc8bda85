from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.media.metronome import Metronome


class MetronomeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.late: list[float] = []
        self.metronome = Metronome(self.clock, self.late.append)
        self.ticks: list[tuple[float, int]] = []
        self.failures: list[Failure] = []

    def tick(self, now: float, due: int) -> None:
        self.ticks.append((round(now, 3), due))

    def test_nobody_there_nothing_scheduled(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_beat_each_twenty_milliseconds(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        self.clock.pump([0.01] * 6)
        self.assertEqual(self.ticks, [(0.02, 1), (0.04, 1), (0.06, 1)])

    def test_a_late_beat_is_made_up_and_the_next_is_on_time_again(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        self.clock.advance(0.065)
        self.clock.advance(0.015)
        self.assertEqual(self.ticks, [(0.065, 3), (0.08, 1)])
        self.assertEqual([round(s, 3) for s in self.late], [0.045, 0.0])

    def test_over_a_minute_not_a_frame_is_lost(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        while self.clock.seconds() < 60:
            self.clock.advance(0.0173)
        self.assertEqual(sum(due for _, due in self.ticks), 3000)

    def test_one_that_fails_is_removed_and_the_others_go_on(self) -> None:
        def broken(now: float, due: int) -> None:
            raise ZeroDivisionError("a bug")

        self.metronome.add(broken, self.failures.append)
        self.metronome.add(self.tick, self.failures.append)
        self.clock.pump([0.02] * 3)
        self.assertEqual(len(self.ticks), 3)
        self.assertEqual(len(self.failures), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_it_falls_silent_with_the_last_and_starts_again_with_the_next(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        self.metronome.remove(self.tick)
        self.clock.pump([0.02] * 3)
        self.assertEqual((self.ticks, self.clock.getDelayedCalls()), ([], []))
        self.metronome.add(self.tick, self.failures.append)
        self.clock.advance(0.02)
        self.assertEqual(self.ticks, [(0.08, 1)])

    def test_removing_twice_is_harmless(self) -> None:
        self.metronome.remove(self.tick)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.sampled_from(("whole", "tick", "both")), max_size=6))
    def test_whatever_fails_in_one_call_the_others_are_ticked(
        self, schedule: list[str]
    ) -> None:
        """C{both}: even being told of it fails."""
        counts = [0] * len(schedule)

        def add(number: int, fault: str) -> None:
            def tick(now: float, due: int) -> None:
                counts[number] += 1
                if fault != "whole":
                    raise MemoryError(fault)

            def failed(failure: Failure) -> None:
                if fault == "both":
                    raise OverflowError(fault)

            metronome.add(tick, failed)

        clock = Clock()
        metronome = Metronome(clock)
        for number, fault in enumerate(schedule):
            add(number, fault)
        clock.pump([0.02] * 3)
        self.assertEqual(counts, [3 if f == "whole" else 1 for f in schedule])
        self.assertEqual(bool(clock.getDelayedCalls()), "whole" in schedule)
        self.flushLoggedErrors(MemoryError, OverflowError)
