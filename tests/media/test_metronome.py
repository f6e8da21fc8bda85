from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.media.metronome import SLOW_BEATS, SLOW_SECONDS, Metronome
from tests.support.no_memory import NoMemory


class ForgetfulClock(Clock):
    """
    A clock that has no memory for a timed call now and then.

    @ivar lacks: there is no memory.
    """

    lacks = False

    def callLater(self, *arguments: Any, **named: Any) -> Any:
        if self.lacks:
            raise MemoryError
        return super().callLater(*arguments, **named)


class MemoryTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.sampled_from(("", "", "next", "tick")), max_size=20),
        st.sampled_from((0.02, 0.03, 0.06)),
    )
    def test_a_beat_without_memory_is_made_up_without_a_new_call(
        self, lacks: list[str], period: float
    ) -> None:
        """Without memory in each beat as drawn, and with it for a moment after."""
        clock = ForgetfulClock()
        metronome = Metronome(clock)
        ticked: list[int] = []

        def tick(now: float, due: int) -> None:
            ticked.append(due)

        metronome.add_each(period, tick, lambda _: None)
        for lack in lacks:
            clock.lacks = lack == "next"
            no_memory = NoMemory(1 if lack == "tick" else 0)
            no_memory.run(lambda: clock.advance(period))
            clock.lacks = False
            if lack:
                clock.pump([0.01] * 20)
        passed = clock.seconds() / period
        self.assertApproximates(sum(ticked), passed, 1.01)
        metronome.remove(tick)
        self.assertEqual(clock.getDelayedCalls(), [])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.booleans(), max_size=6), st.sampled_from((0.02, 0.25)))
    def test_a_beat_without_memory_begins_again_with_the_next_call(
        self, lacks: list[bool], period: float
    ) -> None:
        """Without memory for the beat after a call, as drawn for each call."""
        clock = ForgetfulClock()
        metronome = Metronome(clock, lambda _: None)
        ticked: list[int] = []
        for number, is_lacking in enumerate([*lacks, False]):

            def tick(now: float, due: int, number: int = number) -> None:
                ticked.append(number)

            metronome.add_each(period, tick, lambda _: None)
            clock.lacks = is_lacking
            try:
                clock.advance(period)
            except MemoryError:
                self.assertTrue(is_lacking)
            clock.lacks = False
        ticked.clear()
        clock.pump([period] * 2)
        self.assertEqual(set(ticked), set(range(len(lacks) + 1)))
        # The next beat, and the spare.
        self.assertEqual(len(clock.getDelayedCalls()), 2)


class MetronomeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.late: list[float] = []
        self.metronome = Metronome(self.clock, self.late.append)
        self.ticks: list[tuple[float, int]] = []
        self.failures: list[Failure] = []

    def tick(self, now: float, due: int) -> None:
        self.ticks.append((round(now, 3), due))

    def test_without_members_nothing_is_scheduled(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_there_is_a_beat_every_twenty_milliseconds(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        self.clock.pump([0.01] * 6)
        self.assertEqual(self.ticks, [(0.02, 1), (0.04, 1), (0.06, 1)])

    def test_a_late_beat_is_made_up_and_the_next_is_on_time_again(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        self.clock.advance(0.065)
        self.clock.advance(0.015)
        self.assertEqual(self.ticks, [(0.065, 3), (0.08, 1)])
        self.assertEqual([round(s, 3) for s in self.late], [0.045, 0.0])

    def test_no_frame_is_lost_in_a_minute(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        while self.clock.seconds() < 60:
            self.clock.advance(0.0173)
        self.assertEqual(sum(due for _, due in self.ticks), 3000)

    def test_a_member_that_fails_is_removed_and_the_others_go_on(self) -> None:
        def broken(now: float, due: int) -> None:
            raise ZeroDivisionError("a bug")

        self.metronome.add(broken, self.failures.append)
        self.metronome.add(self.tick, self.failures.append)
        self.clock.pump([0.02] * 3)
        self.assertEqual(len(self.ticks), 3)
        self.assertEqual(len(self.failures), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_it_stops_with_the_last_member_and_starts_again(self) -> None:
        self.metronome.add(self.tick, self.failures.append)
        self.metronome.remove(self.tick)
        self.clock.pump([0.02] * 3)
        self.assertEqual((self.ticks, self.clock.getDelayedCalls()), ([], []))
        self.metronome.add(self.tick, self.failures.append)
        self.clock.advance(0.02)
        self.assertEqual(self.ticks, [(0.08, 1)])

    def test_each_period_has_its_beat_and_that_of_20_ms_is_first(self) -> None:
        self.clock.advance(0.003)
        order: list[tuple[int, str]] = []

        def tick(name: str) -> Callable[[float, int], None]:
            return lambda now, due: order.append(
                (round(now * 1000) - 3, f"{name}{due}")
            )

        ticks = {period: tick(str(period)) for period in (30, 10, 20)}
        self.metronome.add_each(0.03, ticks[30], self.failures.append)
        self.metronome.add_each(0.01, ticks[10], self.failures.append)
        self.metronome.add(ticks[20], self.failures.append)
        self.clock.pump([0.002] * 30)
        self.assertEqual(
            sorted(order),
            sorted(
                [(t, "101") for t in range(10, 61, 10)]
                + [(t, "201") for t in (20, 40, 60)]
                + [(t, "301") for t in (30, 60)]
            ),
        )
        together = [name for when, name in order if when == 60]
        self.assertEqual(together[0], "201")
        del order[:]
        self.clock.advance(0.095)
        self.assertEqual({name for _, name in order}, {"109", "204", "303"})
        self.metronome.remove(ticks[30])
        self.metronome.remove(ticks[20])
        self.assertEqual(len(self.metronome), 1)
        self.metronome.remove(ticks[10])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.sampled_from((10, 20, 30, 40, 60)), min_size=1, max_size=4),
        st.lists(st.floats(0.0, 0.5), min_size=1, max_size=30),
    )
    def test_late_beats_keep_every_period(
        self, periods: list[int], steps: list[float]
    ) -> None:
        self.setUp()
        counts = [0] * len(periods)

        def tick(index: int) -> Callable[[float, int], None]:
            def count(now: float, due: int) -> None:
                counts[index] += due

            return count

        for index, period in enumerate(periods):
            self.metronome.add_each(period / 1000, tick(index), self.failures.append)
        for step in steps:
            self.clock.advance(step)
        self.clock.advance(0.0)
        for period, count in zip(periods, counts, strict=True):
            passed = self.clock.seconds() / (period / 1000)
            self.assertApproximates(count, passed, 1.001)

    def test_removing_twice_is_harmless(self) -> None:
        self.metronome.remove(self.tick)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.sampled_from(("whole", "tick", "both")), max_size=6))
    def test_a_failure_in_one_call_does_not_affect_the_others(
        self, schedule: list[str]
    ) -> None:
        """C{both}: reporting the failure fails as well."""
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


class _Turns(Clock):
    """Acts as a reactor: a turn runs the calls due at its beginning, and takes time."""

    def turn(self) -> None:
        began = self.seconds()
        while self.calls and self.calls[0].getTime() <= began:
            call = self.calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)
            self._sortCalls()


class NewcomersTests(SynchronousTestCase):
    def test_a_new_member_does_not_delay_a_beat_that_is_due(self) -> None:
        clock = _Turns()
        metronome = Metronome(clock)
        beats: list[float] = []

        def slow(now: float, due: int) -> None:
            beats.append(now)
            clock.rightNow += 0.03

        def come() -> None:
            clock.rightNow += 0.01
            metronome.add(lambda *_: None, lambda _: None)

        metronome.add(slow, lambda _: None)
        clock.rightNow += 0.02
        clock.turn()
        for turn in range(2, 8):
            clock.callLater(-0.001, come)
            clock.turn()
            self.assertEqual(len(beats), turn)


class SlowTests(SynchronousTestCase):
    """A member that needs no tick every 20 ms has one on every fifth beat."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.metronome = Metronome(self.clock)

    def test_five_groups_have_their_beats_in_turn(self) -> None:
        ticks: list[tuple[int, int]] = []

        def tick(number: int) -> Callable[[float, int], None]:
            return lambda now, due: ticks.append((round(now / 0.02), number))

        for number in range(10):
            self.metronome.add(tick(number), lambda _: None, is_slow=True)
        self.clock.pump([0.02] * 10)
        by_beat = [sorted(n for at, n in ticks if at == beat) for beat in range(1, 6)]
        self.assertEqual([len(numbers) for numbers in by_beat], [2] * 5)
        self.assertEqual(sorted(n for _, n in ticks[:10]), list(range(10)))
        self.assertEqual([n for at, n in ticks[:10]], [n for at, n in ticks[10:]])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("run", "run", "run", "late", "slow", "fast", "bug")),
                st.integers(0, 5),
                st.integers(1, 12),
            ),
            max_size=40,
        )
    )
    def test_no_member_waits_longer_than_its_period(
        self, steps: list[tuple[str, int, int]]
    ) -> None:
        """
        Members come, go, fail, and change between fast and slow, in any
        order: a fast one has each beat, a slow one at least each fifth, and one that is
        late learns by how many.
        """
        self.setUp()
        last: dict[int, float] = {}
        ticked: dict[int, Callable[[float, int], None]] = {}
        slow: set[int] = set()
        broken: set[int] = set()
        now_and_then: list[tuple[int, int]] = []

        def make(number: int) -> Callable[[float, int], None]:
            def tick(now: float, due: int) -> None:
                self.assertNotEqual(last[number], now, "twice in one beat")
                last[number] = now
                now_and_then.append((number, due))
                if number in broken:
                    raise ZeroDivisionError

            return tick

        def failed(number: int) -> Callable[[Failure], None]:
            def forget(failure: Failure) -> None:
                for kept in (last, ticked):
                    kept.pop(number)
                slow.discard(number)
                broken.discard(number)

            return forget

        for what, number, count in steps:
            if what == "bug":
                broken |= {number} & set(ticked)
            elif what in ("slow", "fast"):
                is_slow = what == "slow"
                (slow.add if is_slow else slow.discard)(number)
                if number in ticked:
                    self.metronome.set_slow(ticked[number], is_slow)
                else:
                    ticked[number] = tick = make(number)
                    last[number] = self.clock.seconds()
                    self.metronome.add(tick, failed(number), is_slow=is_slow)
            else:
                # Late by this many beats, then on time.
                if what == "late":
                    now_and_then.clear()
                    before = dict(last)
                    self.clock.advance(count * 0.02)
                    for _number, due in now_and_then:
                        self.assertIn(due, (count, count + 1), "how late it was")
                    if count >= SLOW_BEATS:
                        still = {n for n in before if n in last}
                        self.assertEqual(still - {n for n, _ in now_and_then}, set())
                for _ in range(1 if what == "late" else count):
                    self.clock.advance(0.02)
                    now = self.clock.seconds() + 1e-6
                    for number, at in last.items():
                        most = SLOW_SECONDS if number in slow else 0.0
                        self.assertLessEqual(now - at, most + 0.0201 + 0.02 * 12)
                        if what == "run" and count > SLOW_BEATS and _ == count - 1:
                            self.assertLessEqual(now - at, max(most, 0.0201) + 1e-5)
        self.assertEqual(len(self.metronome), len(ticked))
        for tick in ticked.values():
            self.metronome.remove(tick)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.flushLoggedErrors(ZeroDivisionError)
