from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks.test_table import a_document, run_of, table_values
from tests.support.benchmarks import module

forms = module("forms")
goals = module("goals")
results = module("results")


def document_of(form: str, **values: Any) -> dict[str, Any]:
    """Every row of a form, measured once."""
    return {
        "floors": {str(calls): (0.5, 1.5) for calls, _ in forms.FORMS[form]},
        "runs": [
            table_values(run_of(row.name, rung.calls, **values))
            for rung in forms.rungs(forms.FORMS[form])
            for row in rung.kinds
        ],
    }


class GoalsTests(SynchronousTestCase):
    def test_the_forms_of_ten_minutes_and_of_an_hour_answer_all_of_them(self) -> None:
        for form in ("goals", "full"):
            cells = results.Cells(document_of(form))
            for goal in goals.GOALS:
                self.assertFalse(math.isnan(goal.of(cells)), goal.title)

    def test_what_lost_a_call_has_reached_nothing(self) -> None:
        said = goals.lines(document_of("goals", lost_calls=1))
        at_220 = [line for line in said if "220 calls" in line]
        self.assertEqual([line.split()[0] for line in at_220], ["NO"])

    @settings(max_examples=40)
    @given(a_document())
    def test_a_goal_is_reached_not_reached_or_not_measured(
        self, document: dict[str, Any]
    ) -> None:
        cells = results.Cells(document)
        for goal, line in zip(goals.GOALS, goals.lines(document), strict=True):
            figure = goal.of(cells)
            said = line.split()[0]
            expected = "-" if math.isnan(figure) else "NO"
            self.assertEqual(said, "yes" if figure <= goal.most else expected)
