from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chime_gateway.settings.variables import NAMES, VARIABLES

PACKAGE = Path(__file__).parents[2] / "chime_gateway"


class VariablesTests(SynchronousTestCase):
    def test_each_says_what_a_table_of_them_needs(self) -> None:
        self.assertEqual(len(NAMES), len(VARIABLES))
        for one in VARIABLES:
            for text in (one.kind, one.default, one.text):
                self.assertTrue(text, one)
                self.assertNotIn("\n", text)
            self.assertRegex(one.since, r"\A\d+\.\d+\.\d+\Z")
            if one.is_secret and one.example:
                self.assertIn("PASSWORD", one.example)

    def test_every_variable_that_is_read_is_known(self) -> None:
        """Whoever reads one names it as a text, in settings/ alone."""
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
        # What botocore reads; the region is looked up there last.
        self.assertEqual(read - NAMES, {"AWS_DEFAULT_REGION"})
        self.assertEqual(NAMES - named, set())
