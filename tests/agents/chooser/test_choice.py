from __future__ import annotations

from collections import Counter
from math import inf
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.chooser.choice import FAILING_SECONDS, Candidate, Choice
from chime_gateway.settings.values import DeploymentSettings


def candidate(name: str, priority: int = 1, weight: float = 1.0) -> Candidate:
    settings = DeploymentSettings(
        name=name,
        endpoint="https://x",
        deployment=name,
        priority=priority,
        weight=weight,
    )
    return Candidate(settings)


class ChoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.random = Random(1)

    def choice(self, *candidates: Candidate) -> Choice:
        return Choice(candidates, lambda: self.now, self.random.random)

    def first(self, choice: Choice, *passed: Candidate) -> str:
        taken = choice.take(passed)
        assert taken is not None
        taken[1].dropped()
        return taken[0].name

    def test_the_lowest_priority_number_is_taken_regardless_of_weights(self) -> None:
        choice = self.choice(candidate("b", 2, 1000.0), candidate("a", 1, 0.001))
        self.assertEqual({self.first(choice) for _ in range(100)}, {"a"})

    def test_weights_decide_among_equal_priorities(self) -> None:
        choice = self.choice(
            *(candidate("a", weight=1), candidate("b", weight=2)),
            *(candidate("c", weight=5), candidate("d", 2)),
        )
        found = Counter(self.first(choice) for _ in range(8000))
        self.assertEqual(set(found), {"a", "b", "c"})
        for name, share in (("a", 1000), ("b", 2000), ("c", 5000)):
            self.assertTrue(0.85 * share < found[name] < 1.15 * share, found)

    def test_extreme_random_numbers_choose_a_candidate(self) -> None:
        for chance in (0.0, 1.0 - 2**-53):
            choice = Choice(
                [candidate("a", weight=1e-9), candidate("b", weight=1e6)],
                lambda: 0.0,
                lambda chance=chance: chance,  # type: ignore[misc]
            )
            self.assertIsNotNone(choice.take(()))

    def test_a_resting_probed_or_excluded_candidate_is_not_taken(self) -> None:
        a, b = candidate("a"), candidate("b", 2)
        choice = self.choice(a, b)
        a.breaker.take(0.0).failed(0.0, 1.0, "503")
        self.assertEqual(self.first(choice), "b")
        self.assertIsNone(choice.take((b,)))
        self.assertEqual(choice.next_rest_end(()), 0.5)
        self.assertEqual(choice.next_rest_end((a,)), inf)
        self.now = 0.5
        probe = choice.take(())
        assert probe is not None and probe[0] is a
        self.assertTrue(choice.is_probed(()))
        self.assertEqual(self.first(choice), "b")

    def test_a_throttling_candidate_comes_last_but_is_still_used(self) -> None:
        for _ in range(50):
            self.now = 0.0
            found = [candidate(n, self.random.randint(1, 3)) for n in "abcd"]
            busy = self.random.sample(found, self.random.randint(1, 4))
            for one in busy:
                one.let_wait(self.random.choice((5.0, 30.0, 1e300, inf)), 0.0)
                one.let_wait(0.3, 0.0)
            choice = self.choice(*found)
            order: list[Candidate] = []
            while (taken := choice.take(order)) is not None:
                taken[1].dropped()
                order.append(taken[0])
            self.assertEqual(set(order[len(found) - len(busy) :]), set(busy))
            self.now = 1e5
            best = min(one.settings.priority for one in found)
            taken = choice.take(())
            assert taken is not None
            self.assertEqual(taken[0].settings.priority, best)

    @given(
        st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.0, 25.0)), max_size=12)
    )
    def test_a_candidate_whose_sessions_keep_failing_comes_last(
        self, failures: list[tuple[str, float]]
    ) -> None:
        """A single failure does not matter, and an only candidate is still used."""
        self.now = 0.0
        a, b = candidate("a"), candidate("b", 2)
        choice = self.choice(a, b)
        last = {"a": -100.0, "b": -100.0}
        busy_until = {"a": 0.0, "b": 0.0}
        for name, pause in failures:
            self.now += pause
            if self.now < last[name] + FAILING_SECONDS:
                busy_until[name] = self.now + FAILING_SECONDS
            last[name] = self.now
            {"a": a, "b": b}[name].failed_call(self.now)
            busy = {n: self.now < busy_until[n] for n in "ab"}
            self.assertEqual(self.first(choice), "b" if busy["a"] > busy["b"] else "a")
            self.assertEqual(self.first(choice, b), "a")

    def test_waiting_searches_are_called_in_the_order_of_arrival(self) -> None:
        choice = self.choice(candidate("a"))
        seen: list[str] = []

        def first() -> None:
            seen.append("first")
            del choice.waiting[third]

        def second() -> None:
            seen.append("second")

        def third() -> None:
            seen.append("third")

        for look in (first, second, third):
            choice.waiting[look] = None
        choice.changed()
        self.assertEqual(seen, ["first", "second"])
