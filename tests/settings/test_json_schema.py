"""Values checked against a JSON Schema."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.settings.json_schema import as_python, faults

KEYS = {"type": "object", "properties": {"k": {"pattern": "^[0-9A-D*#]{1,32}$"}}}


class PatternTests(SynchronousTestCase):
    def test_a_dollar_matches_only_at_the_end(self) -> None:
        self.assertEqual(list(faults({"k": "1#"}, KEYS)), [])
        for wrong in ("1\n", "1\n\n", "\n", "1\r"):
            self.assertTrue(list(faults({"k": wrong}, KEYS)), repr(wrong))

    def test_only_unescaped_dollars_outside_brackets_are_translated(self) -> None:
        for pattern, fits, wrong in (
            ("^(a$|b$)", "b", "a\n"),
            (r"^a\$$", "a$", "a$\n"),
            ("^[$]$", "$", "$\n"),
            (r"^[\]$]+$", "]$", "]\n"),
            (r"^[^$]$", "x", "$"),
        ):
            ours = as_python(pattern)
            self.assertTrue(re.search(ours, fits), pattern)
            self.assertFalse(re.search(ours, wrong), pattern)

    @given(st.text("0123456789*#AD\n\r \u2028", max_size=6))
    def test_no_built_in_tool_accepts_a_line_break_among_keys(self, keys: str) -> None:
        (tool,) = [tool for tool in BUILT_IN_TOOLS if tool.name == "send_digits"]
        parameters = tool.function({}).parameters
        fits = not list(faults({"digits": keys}, parameters))
        self.assertEqual(fits, re.fullmatch("[0-9A-D*#]{1,32}", keys) is not None)
