"""
Patterns: C{$} matches before a last line break as well, so none of ours ends in it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.settings.json_schema import as_python
from tests.test_layering import ROOT, modules, tree_of

FUNCTIONS = {"compile", "match", "search", "fullmatch", "sub", "subn", "split"}


def texts(node: ast.AST) -> Iterator[str]:
    """What is written in it, whole or in parts."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str | bytes):
            value = inner.value
            yield value if isinstance(value, str) else value.decode("latin-1")


def ends_loosely(call: ast.Call) -> bool:
    pattern = "".join(texts(call.args[0])) if call.args else ""
    # Of every line: that is what it is for.
    flags = [ast.unparse(one) for one in (*call.args[1:], *call.keywords)]
    is_of_lines = any("MULTILINE" in flag for flag in flags) or "(?m" in pattern
    return as_python(pattern) != pattern and not is_of_lines


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(tree_of(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in FUNCTIONS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
        ):
            yield node


class PatternTests(SynchronousTestCase):
    def test_no_pattern_ends_before_a_line_break(self) -> None:
        loose = [
            f"{path.relative_to(ROOT)}:{call.lineno}"
            for path in modules()
            for call in calls(path)
            if ends_loosely(call)
        ]
        self.assertEqual(loose, [])

    def test_one_that_did_would_be_found(self) -> None:
        for source, is_loose in (
            ('re.compile(r"a$")', True),
            ('re.match(rb"(a|b$)", x)', True),
            ('re.compile("a" "$", re.IGNORECASE)', True),
            ('re.fullmatch(f"{x}$", y)', True),
            ('re.compile("a$", re.MULTILINE)', False),
            (r're.compile(r"\$a")', False),
            ('re.compile("[$]")', False),
        ):
            (node,) = [
                n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)
            ]
            self.assertEqual(ends_loosely(node), is_loose, source)

    def test_patterns_of_schemas_are_read_in_one_place(self) -> None:
        for path in modules():
            name = str(path.relative_to(ROOT))
            if name == "settings/json_schema.py":
                continue
            text = path.read_text(encoding="utf-8")
            for line in text.splitlines():
                if "Draft202012Validator" in line and "import" not in line:
                    self.assertIn(".check_schema(", line, name)
