"""What is said of security is kept true by tests: those that are named are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "security.md"


def names() -> Iterator[str]:
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name


def statements(text: str) -> Iterator[str]:
    """Rows of tables that say what somebody cannot do."""
    is_said = False
    for line in text.splitlines():
        if line.startswith("| cannot |"):
            is_said = True
        elif not line.startswith("|"):
            is_said = False
        elif is_said and not line.startswith("|---"):
            yield line


class SecurityDocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not DOCUMENT.exists():
            raise SkipTest("the documents are not beside the tests")
        self.text = DOCUMENT.read_text(encoding="utf-8")

    def test_every_test_that_is_named_is_there(self) -> None:
        named = set(re.findall(r"`(test_\w+)`", self.text))
        self.assertGreater(len(named), 40)
        self.assertEqual(sorted(named - set(names())), [])

    def test_every_statement_names_a_test(self) -> None:
        found = list(statements(self.text))
        self.assertGreater(len(found), 30)
        self.assertEqual([line for line in found if "`test_" not in line], [])

    def test_files_that_are_named_are_there(self) -> None:
        for name in re.findall(r"\]\((\.\./[\w./]+|[\w/]+\.md)\)", self.text):
            self.assertTrue((DOCUMENT.parent / name).exists(), name)
        self.assertTrue((TESTS / "deploy" / "test_security.py").exists())
