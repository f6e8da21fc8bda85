from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.settings.variables import NAMES, VARIABLES


class VariablesTests(SynchronousTestCase):
    def test_each_says_what_a_table_of_them_needs(self) -> None:
        self.assertEqual(len(NAMES), len(VARIABLES))
        for variable in VARIABLES:
            for text in (variable.kind, variable.text, variable.since):
                self.assertTrue(text, variable)
            self.assertFalse(variable.text.endswith("."), variable)
            self.assertIn(variable.since, ("0.1.0", "0.2.0"))
