from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.takeover.retirement import CONNECTIONS_SECONDS, Retirement


class RetirementTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.floats(0, 300),
        st.floats(0, 300),
        st.floats(0, 300),
        st.floats(1, 300),
    )
    def test_retirement_lasts_exactly_as_long_as_needed(
        self, calls: float, connections: float, reason: float, most: float
    ) -> None:
        """First calls count, up to the limit; then connections and other reasons."""
        clock = Clock()
        ends: list[tuple[float, bool]] = []
        retirement = Retirement(
            clock,
            lambda: most,
            lambda: int(clock.seconds() < calls),
            lambda: int(clock.seconds() < connections),
            lambda is_overdue: ends.append((clock.seconds(), is_overdue)),
        )
        retirement.reasons.append(lambda: clock.seconds() < reason)
        retirement.begin()
        clock.pump([0.25] * 1300)
        ((at, is_overdue),) = ends
        self.assertEqual(is_overdue, calls > at)
        if is_overdue:
            self.assertLess(abs(at - most), 0.6)
        else:
            needed = max(calls, min(CONNECTIONS_SECONDS, max(connections, reason)))
            self.assertLess(abs(at - needed), 0.6)

    def test_a_process_that_takes_new_calls_again_stays(self) -> None:
        clock = Clock()
        ends: list[bool] = []
        retirement = Retirement(clock, lambda: 5, lambda: 0, lambda: 0, ends.append)
        retirement.begin()
        retirement.cancel()
        retirement.cancel()
        clock.pump([1.0] * 100)
        self.assertEqual(ends, [])
        retirement.begin()
        clock.pump([1.0] * 2)
        self.assertEqual(ends, [False])
