from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chime_gateway.settings.variables import NAMES, VARIABLES

PACKAGE = Path(__file__).parents[2] / "chime_gateway"


class VariablesTests(SynchronousTestCase):
    def test_each_variable_has_all_that_the_tables_need(self) -> None:
        self.assertEqual(len(NAMES), len(VARIABLES))
        for one in VARIABLES:
            for text in (one.kind, one.default, one.text):
                self.assertTrue(text, one)
                self.assertNotIn("\n", text)
            self.assertRegex(one.since, r"\A\d+\.\d+\.\d+\Z")
            if one.is_secret and one.example:
                self.assertIn("PASSWORD", one.example)

    def test_every_variable_that_is_read_is_listed(self) -> None:
        """Variables are only read in settings/, by a literal name."""
        rooms = [PACKAGE / "settings", PACKAGE / "app"]
        if not all(room.is_dir() for room in rooms):
            raise SkipTest("the sources are not there")
        read, named = set[str](), set[str]()
        for room in rooms:
            for file in room.rglob("*.py"):
                if file.name == "variables.py":
                    continue
                text = file.read_text(encoding="utf-8")
                read |= set(re.findall(r"""env(?:\.get\(|\[)\s*"([A-Z_]+)\"""", text))
                named |= set(re.findall(r'"([A-Z_]+)"', text))
        # A variable of botocore; it is the last source of the region.
        self.assertEqual(read - NAMES, {"AWS_DEFAULT_REGION"})
        self.assertEqual(NAMES - named, set())
