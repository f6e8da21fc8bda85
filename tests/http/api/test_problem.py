"""Checks of the content of API requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.http.api.problem import Problem, check
from chime_gateway.http.api.requests import ENTRIES

SCHEMAS = {e.body.name: e.body.definition for e in ENTRIES if e.body is not None}


class CheckTests(SynchronousTestCase):
    def test_a_value_that_matches_its_schema_passes(self) -> None:
        check({"to": "+12065550100"}, SCHEMAS["Originate"], "the request")
        check({"digits": "12#"}, SCHEMAS["Digits"], "the request")

    def test_a_value_that_does_not_match_is_named(self) -> None:
        problem = self.assertRaises(
            Problem, check, {"to": "911"}, SCHEMAS["Originate"], "the request"
        )
        self.assertEqual(problem.status, 422)
        self.assertIn("to: '911' does not match", str(problem))

    def test_a_trailing_line_break_does_not_match(self) -> None:
        for body, name in (
            ({"to": "+12065550100\n"}, "Originate"),
            ({"digits": "1\n"}, "Digits"),
        ):
            self.assertRaises(Problem, check, body, SCHEMAS[name], "the request")
