from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.release import Release


class ReleaseTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=8))
    def test_each_step_is_done_or_tried_twice_whatever_fails(
        self, plan: list[tuple[int, bool]]
    ) -> None:
        """The plan: how often each step fails, and whether it calls C{run} again."""
        tried = [0] * len(plan)
        order: list[int] = []

        def step(number: int) -> None:
            failures, comes_back = plan[number]
            tried[number] += 1
            if comes_back:
                release.run()
            if tried[number] <= failures:
                raise MemoryError
            order.append(number)

        steps = [lambda add, n=n: step(add + n) for n in range(len(plan))]
        release = Release(0, steps)
        self.assertEqual(release.is_done, not plan)
        release.run()
        release.run()
        self.assertTrue(release.is_done)
        self.assertEqual(tried, [min(2, failures + 1) for failures, _ in plan])
        self.assertEqual(
            order, [n for n, (failures, _) in enumerate(plan) if failures < 2]
        )
        self.flushLoggedErrors(MemoryError)
