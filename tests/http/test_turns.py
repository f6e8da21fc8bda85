from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.http.turns import Turns
from tests.support.http_peers import TurningClock

MOST = 3


class TurnsTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(0, 9), max_size=8))
    def test_no_turn_has_more_and_the_line_is_kept(self, wanted: list[int]) -> None:
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

    def test_work_that_fails_does_not_stop_the_line(self) -> None:
        clock = TurningClock()
        turns = Turns(clock, 1)
        done: list[int] = []
        turns.take()
        turns.wait([].pop)
        turns.wait(lambda: done.append(1))
        self.assertRaises(IndexError, clock.turn)
        clock.turn()
        self.assertEqual(done, [1])
