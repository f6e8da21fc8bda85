"""
Do the tests notice?  A sample of mutants: each is the program with one thing changed
(a comparison, a number, a call left out), and should fail a test.

    make mutants                         200 of them, half an hour on two processors
    python -m tests.mutants --count 40 --seed 7 --minutes 10 chime_gateway/media

The same seed changes the same things.  A mutant has the tests of its module first, then
all unit tests that reach it (tests/check.py), each time until the first failure.  It
works on a copy of the tree, so a mutant is never left behind in the sources.

What survives is listed: a test is missing there, or the change means nothing.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Final

from attrs import frozen

from tests import check

ROOT = Path(__file__).parent.parent
ROOMS: Final = ("wire", "media", "call", "carriers", "agents")

#: Of the sample, so many have to be noticed.
LEAST_SHARE: Final = 0.85

#: Tests of a mutant that take longer hang, and that is noticed.
MOST_SECONDS: Final = 240

_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_OPERATIONS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "//",
    ast.FloorDiv: "*",
    ast.Div: "*",
    ast.Mod: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.LShift: ">>",
    ast.RShift: "<<",
}

#: Calls whose arguments are about the class and not about what it does, and those
#: that people read.
_UNTOUCHED: Final = frozenset(
    {"field", "frozen", "define", "TypeVar", "warn", "info", "error", "debug"}
)


@frozen
class Mutant:
    """
    @ivar file: relative to the root.
    @ivar line: where it begins, from 1.
    @ivar before: what stood there.
    @ivar after: what stands there now.
    @ivar source: of the whole file.
    """

    file: Path
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        before = " ".join(self.before.split())
        return f"{self.file}:{self.line}: {before:.70} -> {self.after:.70}"


@frozen
class _Change:
    """@ivar node: the place, of which C{text} takes the place."""

    node: ast.expr | ast.stmt
    text: str


def mutants(file: Path, source: str) -> list[Mutant]:
    """All that there are of one file, in the order of the text."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()
    found = []
    for change in _changes(ast.parse(source)):
        node = change.node
        assert node.end_lineno is not None and node.end_col_offset is not None
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        new = data[:begin] + change.text.encode() + data[end:]
        before = data[begin:end].decode()
        found.append(Mutant(file, node.lineno, before, change.text, new.decode()))
    return found


def _changes(tree: ast.AST) -> Iterator[_Change]:
    for node in _live(tree):
        match node:
            case ast.Compare(ops=[one]):
                yield _Change(node, _compared(node, _COMPARISONS[type(one)]))
            case ast.BoolOp():
                word = " or " if isinstance(node.op, ast.And) else " and "
                yield _Change(node, f"({word.join(_text(v) for v in node.values)})")
            case ast.UnaryOp(op=ast.Not()):
                yield _Change(node, _text(node.operand))
            case ast.BinOp() if type(node.op) in _OPERATIONS:
                sign = _OPERATIONS[type(node.op)]
                yield _Change(node, f"({_text(node.left)} {sign} {_text(node.right)})")
            case ast.Constant(value=bool(value)):
                yield _Change(node, str(not value))
            case ast.Constant(value=int(value)):
                yield _Change(node, str(value + 1))
            case ast.If() | ast.While() if not isinstance(node.test, ast.Constant):
                yield _Change(node.test, f"(not {_text(node.test)})")
            case ast.IfExp():
                yield _Change(node.test, f"(not {_text(node.test)})")
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield _Change(node, "return None")
            case ast.Expr(value=ast.Call() as call) if not _is_untouched(call):
                yield _Change(node, "pass")
            case ast.AugAssign() if type(node.op) in _OPERATIONS:
                sign = _OPERATIONS[type(node.op)]
                yield _Change(node, f"{_text(node.target)} {sign}= {_text(node.value)}")


def _live(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that do something: no types, no docstrings, nothing that people read."""
    yield tree
    for name, child in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for node in child if isinstance(child, list) else [child]:
            if not isinstance(node, ast.AST) or isinstance(
                node, ast.Raise | ast.Assert | ast.JoinedStr | ast.ImportFrom
            ):
                continue
            if isinstance(node, ast.Call) and _is_untouched(node):
                continue
            yield from _live(node)


def _is_untouched(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func
    return (name.id if isinstance(name, ast.Name) else name) in _UNTOUCHED


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _compared(node: ast.Compare, sign: str) -> str:
    return f"({_text(node.left)} {sign} {_text(node.comparators[0])})"


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def sample(folders: Sequence[Path], count: int, seed: int) -> list[Mutant]:
    """Of all that there are, each as likely as any other."""
    everything = [
        mutant
        for folder in folders
        for file in sorted(folder.rglob("*.py") if folder.is_dir() else [folder])
        for mutant in mutants(file.relative_to(ROOT), file.read_text(encoding="utf-8"))
    ]
    # No cryptography, and the same sample each time.
    return random.Random(seed).sample(everything, min(count, len(everything)))


def test_modules(mutant: Mutant) -> list[list[str]]:
    """What is run, one after the other, until something fails."""
    mirrored = Path("tests", *mutant.file.parts[1:-1], f"test_{mutant.file.name}")
    reached = sorted(check.module(file) for file in check.tests_of([mutant.file]))
    first = [check.module(mirrored)] if (ROOT / mirrored).exists() else []
    rest = [name for name in reached if name not in first]
    return [step for step in (first, rest) if step]


# Neither runner is to take it for a test.
test_modules.__test__ = False  # type: ignore[attr-defined]


def is_noticed(mutant: Mutant, tree: Path) -> bool:
    """Whether a test fails with it, in a copy of the tree."""
    place = tree / mutant.file
    original = place.read_bytes()
    place.write_text(mutant.source, encoding="utf-8")
    try:
        for names in test_modules(mutant):
            command = [sys.executable, "-m", "twisted.trial", "--exitfirst"]
            command += ["--reporter=text", "--temp-directory=_trial_temp", *names]
            try:
                done = subprocess.run(
                    ["nice", "-n", "10", *command],
                    cwd=tree,
                    env={**os.environ, "CI": "true", "PYTHONDONTWRITEBYTECODE": "1"},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=MOST_SECONDS,
                )
            except subprocess.TimeoutExpired:
                return True
            if done.returncode:
                return True
        return False
    finally:
        place.write_bytes(original)


def copies(number: int, folder: Path) -> Iterator[Path]:
    """So many copies of the tree, without what is not in it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "_trial_temp*")
    for one in range(number):
        tree = folder / str(one)
        for name in ("chime_gateway", "tests", "twisted"):
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        yield tree


def main() -> None:
    parser = argparse.ArgumentParser(description="Do the tests notice?")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    folders = [folder.resolve() for folder in options.folders] or [
        ROOT / "chime_gateway" / room for room in ROOMS
    ]
    chosen = sample(folders, options.count, options.seed)
    end = time.monotonic() + options.minutes * 60
    noticed = survived = 0
    with tempfile.TemporaryDirectory() as folder:
        trees: Queue[Path] = Queue()
        for tree in copies(options.jobs, Path(folder)):
            trees.put(tree)

        def judge(mutant: Mutant) -> tuple[Mutant, bool | None]:
            if time.monotonic() > end:
                return mutant, None
            tree = trees.get()
            try:
                return mutant, is_noticed(mutant, tree)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(options.jobs) as pool:
            for mutant, result in pool.map(judge, chosen):
                if result is None:
                    continue
                noticed, survived = noticed + result, survived + (not result)
                if not result:
                    print(f"survived: {mutant}", flush=True)
                if not (noticed + survived) % 20:
                    print(f"{noticed + survived} of {len(chosen)} tried", flush=True)
    judged = noticed + survived
    share = noticed / judged if judged else 0.0
    print(
        f"seed {options.seed}: {noticed} of {judged} mutants were noticed"
        f" ({share:.1%}); {len(chosen) - judged} were not tried for want of time"
    )
    if share < LEAST_SHARE:
        raise SystemExit(f"fewer than {LEAST_SHARE:.0%}")


if __name__ == "__main__":
    main()
