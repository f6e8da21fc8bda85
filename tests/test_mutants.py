"""What tests/mutants.py changes, and that it puts it back."""

from __future__ import annotations

import ast
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
        source = "def f(n):\n    return n < 2 or n == 7\n"
        root = self.tree(source, "[f(1), f(2)], [True, False]")
        found = {
            mutant.after: mutants.noticed_by(mutant, root)
            for mutant in mutants.mutants(FILE, source)
            if mutant.after in ("((n) <= (2))", "8")
        }
        self.assertEqual(found, {"((n) <= (2))": "tests.media.test_x", "8": ""})
        self.assertEqual((root / FILE).read_text(), source)

    def test_one_that_never_ends_is_stopped_and_noticed(self) -> None:
        source = "def f(n):\n    while n < 2:\n        n += 1\n    return n\n"
        root = self.tree(source, "f(1), 2")
        self.patch(mutants, "MOST_CPU_SECONDS", 2)
        (endless,) = (
            mutant for mutant in mutants.mutants(FILE, source) if "-=" in mutant.after
        )
        self.assertEqual(mutants.noticed_by(endless, root), "tests.media.test_x")

    def test_a_module_s_own_tests_come_first_and_no_test_twice(self) -> None:
        (mutant,) = mutants.mutants(Path("chime_gateway/media/pump.py"), "x = 1\n")
        steps = mutants.steps(mutant)
        self.assertEqual(steps[0], ["tests.media.test_pump"])
        every = [name for step in steps for name in step]
        self.assertEqual(len(every), len(set(every)))
        self.assertIn("tests.whole_calls", {n.rpartition(".")[0] for n in every})

    def test_an_interrupted_run_goes_on_and_survivors_are_tried_again(self) -> None:
        results = temporary_folder(self) / "results.jsonl"
        one, two, three = mutants.mutants(FILE, "x = 1\ny = 2\nz = 3\n")
        judged = [(one, "tests.media.test_x"), (two, ""), (three, None)]
        self.assertEqual(mutants.report(judged, results), 0.5)
        self.assertEqual(
            mutants.earlier(results, again=False),
            {one.digest: "tests.media.test_x", two.digest: ""},
        )
        mutants.report([(two, "tests.media.test_y")], results)
        self.assertEqual(
            mutants.earlier(results, again=True),
            {one.digest: "tests.media.test_x", two.digest: "tests.media.test_y"},
        )
        self.assertEqual(mutants.earlier(None, again=False), {})

    def tree(self, source: str, expected: str) -> Path:
        """A program of one module, with a test that compares these two."""
        root = temporary_folder(self)
        test = (
            "from twisted.trial.unittest import SynchronousTestCase\n"
            "from chime_gateway.media.x import f\n"
            "class T(SynchronousTestCase):\n"
            "    def test_f(self):\n"
            f"        self.assertEqual({expected})\n"
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
        return root
