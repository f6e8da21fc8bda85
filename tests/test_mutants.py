"""What tests/mutants.py changes, and that it puts it back."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import check, mutants
from tests.support.files import temporary_folder

FILE = Path("chime_gateway/media/x.py")

EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "1", "True", "'é'", "None", "f()", 'f"{a}"']),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["<", "==", "in", "is not"]), inner),
        st.tuples(inner, st.sampled_from(["+", "-", "//", "&", "<<"]), inner),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner),
        st.tuples(st.just("not "), inner),
        st.tuples(inner, st.just("if"), inner, st.just("else"), inner),
    ).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=6,
)
STATEMENTS = st.sampled_from(
    [
        "x = {}",
        "return {}",
        "f({})",
        "x += {}",
        "if {}:\n        f()",
        "while {}:\n        break",
        "raise ValueError({})",
        "_log.info({})",
        "y: 'list[int]' = {}",
    ]
)
BODIES = st.lists(
    st.tuples(STATEMENTS, EXPRESSIONS).map(lambda pair: pair[0].format(pair[1])),
    min_size=1,
    max_size=4,
).map(lambda lines: "def g(a, b):\n    " + "\n    ".join(lines) + "\n")


class MutantsTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(BODIES)
    def test_each_is_another_program_that_can_be_read(self, source: str) -> None:
        original = ast.dump(ast.parse(source))
        for mutant in mutants.mutants(FILE, source):
            self.assertNotEqual(ast.dump(ast.parse(mutant.source)), original, mutant)
            # Nothing else is touched.
            self.assertEqual(
                mutant.source.replace(mutant.after, "", 1).count("\n"),
                source.replace(mutant.before, "", 1).count("\n"),
            )

    def test_what_people_read_and_types_are_left_alone(self) -> None:
        source = (
            "x: Final[int]\n"
            "def f(a: int | None) -> bool | None:\n"
            "    assert a == 1\n"
            "    _log.info('x', n=a + 1)\n"
            "    raise ValueError(f'{a + 1}')\n"
        )
        self.assertEqual(mutants.mutants(FILE, source), [])

    def test_the_same_seed_is_the_same_sample(self) -> None:
        folder = mutants.ROOT / "chime_gateway" / "media"
        one, two, other = (mutants.sample([folder], 20, seed) for seed in (1, 1, 2))
        self.assertEqual(one, two)
        self.assertNotEqual(one, other)
        self.assertEqual(len(set(map(str, one))), 20)

    def test_one_is_noticed_or_not_and_never_left_behind(self) -> None:
        root = temporary_folder(self)
        source = "def f(n):\n    return n < 2 or n == 7\n"
        test = (
            "from twisted.trial.unittest import SynchronousTestCase\n"
            "from chime_gateway.media.x import f\n"
            "class T(SynchronousTestCase):\n"
            "    def test_f(self):\n"
            "        self.assertEqual([f(1), f(2)], [True, False])\n"
        )
        for name, text in (
            ("chime_gateway/__init__.py", ""),
            ("chime_gateway/media/__init__.py", ""),
            (str(FILE), source),
            ("tests/__init__.py", ""),
            ("tests/media/__init__.py", ""),
            ("tests/media/test_x.py", test),
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        for module in (mutants, check):
            self.patch(module, "ROOT", root)
        found = {
            mutant.after: mutants.is_noticed(mutant, root)
            for mutant in mutants.mutants(FILE, source)
            if mutant.after in ("((n) <= (2))", "8")
        }
        self.assertEqual(found, {"((n) <= (2))": True, "8": False})
        self.assertEqual((root / FILE).read_text(), source)
        self.assertIn("twisted", sys.modules)
