from __future__ import annotations

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.http.turns import MOST_SECONDS, Turns
from tests.support.http_peers import TurningClock

MOST = 3


class TurnsTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(0, 9), max_size=8))
    def test_a_turn_has_limited_work_and_the_order_is_kept(
        self, wanted: list[int]
    ) -> None:
        clock = TurningClock()
        turns = Turns(clock, MOST)
        done: list[int] = []
        asked = 0
        for count in [*wanted, *[0] * 40]:
            before = len(done)
            for number in range(asked, asked + count):
                if turns.take():
                    done.append(number)
                else:
                    turns.wait(lambda number=number: done.append(number))  # type: ignore[misc]
            asked += count
            self.assertLessEqual(len(done) - before, MOST)
            before = len(done)
            clock.turn()
            self.assertLessEqual(len(done) - before, MOST)
        self.assertEqual(done, list(range(asked)))
        self.assertEqual(clock.getDelayedCalls(), [])

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.tuples(st.booleans(), st.floats(0, 0.05)), max_size=30),
        st.integers(1, 20),
    )
    def test_slow_work_ends_its_turn(
        self, works: list[tuple[bool, float]], most: int
    ) -> None:
        clock = TurningClock()
        turns = Turns(clock, most)
        done: list[float] = []

        def work(seconds: float) -> None:
            done.append(seconds)
            clock.rightNow += seconds

        for ends_a_turn, seconds in [*works, *[(True, 0.0)] * 40]:
            if ends_a_turn:
                done.clear()
                clock.turn()
            elif turns.take():
                work(seconds)
            else:
                turns.wait(partial(work, seconds))
            # The last piece began within the time.
            self.assertLess(sum(done[:-1]), MOST_SECONDS)
        self.assertEqual(turns.waiting, 0)

    def test_failing_work_does_not_stop_the_queue(self) -> None:
        clock = TurningClock()
        turns = Turns(clock, 1)
        done: list[int] = []
        turns.take()
        turns.wait([].pop)
        turns.wait(lambda: done.append(1))
        self.assertRaises(IndexError, clock.turn)
        clock.turn()
        self.assertEqual(done, [1])
