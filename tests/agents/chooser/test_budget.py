from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.chooser.budget import WINDOW_SECONDS, Budget
from chime_gateway.agents.chooser.choice import Candidate, Choice
from chime_gateway.agents.chooser.health import Health
from chime_gateway.settings.values import DeploymentSettings
from tests.support.fakes import RecordingMeasures

#: Pauses between events: within a grain, within a window, and beyond.
PAUSES = st.sampled_from([0.0, 0.01, 0.099, 0.1, 0.5, 7.0, 29.9, 59.9, 60.0, 61.0])


def candidate(name: str, priority: int, requests: int, tokens: int) -> Candidate:
    return Candidate(
        DeploymentSettings(
            name=name,
            endpoint="https://x",
            deployment=name,
            priority=priority,
            requests_per_minute=requests,
            tokens_per_minute=tokens,
        )
    )


class BudgetTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(
        st.integers(1, 4),
        st.integers(1, 50),
        st.lists(st.tuples(PAUSES, st.integers(0, 40), st.booleans()), max_size=40),
    )
    def test_no_minute_exceeds_the_limit_and_no_session_waits_longer_than_needed(
        self, requests: int, tokens: int, steps: list[tuple[float, int, bool]]
    ) -> None:
        now = 1000.0
        budget = Budget(requests, tokens)
        opened: list[float] = []
        spent: list[tuple[float, int]] = []
        for pause, used, asks in steps:
            now += pause
            if asks and not budget.is_spent(now):
                budget.requested(now)
                opened.append(now)
            budget.used(used, now)
            spent.append((now, used))
            begin = now - WINDOW_SECONDS
            self.assertLessEqual(sum(at > begin for at in opened), requests)
            free_at = budget.free_at(now)
            if free_at > now:
                self.assertNotEqual(budget.why(now), "")
                # One grain earlier it really was spent.
                begin = free_at - WINDOW_SECONDS - 0.2
                had = sum(at > begin for at in opened)
                took = sum(count for at, count in spent if at > begin)
                self.assertTrue(had >= requests or took >= tokens, (had, took))
            else:
                took = sum(count for at, count in spent if at > now - WINDOW_SECONDS)
                self.assertLess(took, tokens)
                self.assertEqual(budget.why(now), "")

    def test_the_history_does_not_grow(self) -> None:
        budget = Budget()
        for number in range(100_000):
            budget.requested(number / 1000)
            budget.used(5, number / 1000)
        for minute in (budget._requests, budget._tokens):
            self.assertLess(len(minute._kept), 1000)
        self.assertFalse(budget.is_spent(100.0))
        self.assertEqual(budget.counts(1000.0), {"requests": (0, 0), "tokens": (0, 0)})

    def test_changed_limits_still_count_what_was_used(self) -> None:
        budget = Budget()
        for _ in range(5):
            budget.requested(0.0)
        budget.change(5, 0)
        self.assertTrue(budget.is_spent(1.0))
        budget.change(6, 0)
        self.assertFalse(budget.is_spent(1.0))


class ChoiceWithBudgetsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def choice(self, *candidates: Candidate) -> Choice:
        return Choice(candidates, self.clock.seconds, Random(1).random)

    def names(self, choice: Choice, count: int, *, is_running: bool = False) -> str:
        found = ""
        for _ in range(count):
            taken = choice.take((), is_running=is_running)
            found += "-" if taken is None else taken[0].name
            if taken is not None:
                taken[1].succeeded()
        return found

    def test_the_next_deployment_takes_what_exceeds_the_first_one_s_budget(
        self,
    ) -> None:
        choice = self.choice(candidate("a", 1, 3, 0), candidate("b", 2, 2, 0))
        self.assertEqual(self.names(choice, 6), "aaabb-")
        self.assertAlmostEqual(choice.next_rest_end(()), 60.1)
        self.clock.advance(60.1)
        self.assertEqual(self.names(choice, 2), "aa")

    def test_used_tokens_block_new_calls_for_a_minute(self) -> None:
        a, b = candidate("a", 1, 0, 100), candidate("b", 2, 0, 0)
        choice = self.choice(a, b)
        a.budget.used(99, 0.0)
        self.assertEqual(self.names(choice, 1), "a")
        a.budget.used(1, 0.0)
        self.assertEqual(self.names(choice, 1), "b")
        self.clock.advance(60.2)
        self.assertEqual(self.names(choice, 1), "a")

    def test_a_call_in_progress_uses_free_budgets_first_and_then_spent_ones(
        self,
    ) -> None:
        choice = self.choice(candidate("a", 1, 1, 0), candidate("b", 2, 1, 0))
        self.assertEqual(self.names(choice, 4, is_running=True), "abaa")
        self.assertEqual(self.names(choice, 1), "-")

    def test_a_spent_budget_is_a_fault_unless_it_is_free_again_soon(self) -> None:
        choice = self.choice(candidate("a", 1, 1, 0))
        health = Health(choice, self.clock, Random(1).random, RecordingMeasures())
        self.assertIsNone(health.fault(()))
        self.names(choice, 1)
        why = health.fault(())
        assert why is not None
        self.assertIn("1 of 1 sessions were opened within a minute", why)
        self.assertNotIn("1 of 1", str(health.fault((), in_detail=False)))
        self.assertEqual(health.states(), {"a": "spent"})
        self.assertEqual(
            health.budgets(), {"a": {"requests": (1, 1), "tokens": (0, 0)}}
        )
        self.clock.advance(59)
        self.assertIsNone(health.fault(()))
        self.clock.advance(2)
        self.assertEqual(health.states(), {"a": "usable"})
