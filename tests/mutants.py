"""
Mutation testing of a sample: each mutant is the program with one thing changed
(a comparison, a number, a call left out), and a test should fail with it.

    make mutants                         200 of them
    python -m tests.mutants --count 40 --seed 7 --minutes 10 chime_gateway/media
    python -m tests.mutants --results mutants.jsonl            goes on where it stopped
    python -m tests.mutants --results mutants.jsonl --again    tries survivors again

Of the same sources, the same seed draws the same mutants.  Each is tried against the
tests of its module, then of its folder, then against whole calls, then against other
unit tests that import the module, up to the first failure.  The work is done in
copies of the tree, so no mutant is left behind in the sources.

Survivors are listed: a test is missing there, or the change makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import functools
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Final

from attrs import frozen

from tests import check

ROOT = Path(__file__).parent.parent
ROOMS: Final = ("wire", "media", "call", "carriers", "agents")

#: The share of the sample that has to be noticed.
LEAST_SHARE: Final = 0.85

#: Limits for one step of tests: a mutant that loops or allocates without end is
#: stopped, and counts as noticed.  The wall clock is for one that waits.
MOST_CPU_SECONDS: Final = 240
MOST_SECONDS: Final = 1200
MOST_BYTES: Final = 4 << 30

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

    @property
    def digest(self) -> str:
        """The same for the same change of the same source."""
        return hashlib.sha256(f"{self.file}\n{self.source}".encode()).hexdigest()


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
        new = (data[:begin] + change.text.encode() + data[end:]).decode()
        before = data[begin:end].decode()
        found.append(Mutant(file, node.lineno, before, change.text, new))
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


_imports = functools.cache(check.imports)


def steps(mutant: Mutant) -> list[list[str]]:
    """Test modules in the order in which they are run: the likeliest first."""
    files = (ROOT / "tests").rglob("test_*.py")
    unit = check.unit_tests(file.relative_to(ROOT) for file in files)
    folder = Path("tests", *mutant.file.parts[1:-1])
    name = f"test_{mutant.file.stem}"
    changed = check.module(mutant.file)
    in_order = [
        {folder / f"{name}.py"},
        {file for file in unit if file.parent == folder and file.stem.startswith(name)},
        check.mirror(mutant.file.relative_to(check.PACKAGE), sorted(unit)),
        {file for file in unit if Path("tests/whole_calls") in file.parents},
        {file for file in unit if changed in _imports(ROOT / file)},
    ]
    found: list[list[str]] = []
    done: set[Path] = set()
    for some in in_order:
        if new := sorted((some & unit) - done):
            found.append([check.module(file) for file in new])
            done |= set(new)
    return found


def passes(names: Sequence[str], tree: Path) -> bool:
    """Whether these tests pass in a copy of the tree, within the limits."""
    command = ["nice", "-n", "10", sys.executable, "-m", "twisted.trial"]
    command += ["--exitfirst", "--reporter=text", "--temp-directory=_trial_temp"]
    process = subprocess.Popen(
        [*command, *names],
        cwd=tree,
        # CI: hypothesis draws the same examples each time.
        env={**os.environ, "CI": "true", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    resource.prlimit(process.pid, resource.RLIMIT_CPU, (MOST_CPU_SECONDS,) * 2)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (MOST_BYTES,) * 2)
    try:
        return process.wait(MOST_SECONDS) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def noticed_by(mutant: Mutant, tree: Path) -> str:
    """
    @return: the first test module of the step that fails, or nothing: it survives.
    """
    place = tree / mutant.file
    original, times = place.read_bytes(), place.stat()
    place.write_text(mutant.source, encoding="utf-8")
    # The bytecode of the original is told from the mutant by its time and its size.
    os.utime(place, (times.st_atime, times.st_mtime + 10))
    try:
        return next((it[0] for it in steps(mutant) if not passes(it, tree)), "")
    finally:
        place.write_bytes(original)
        os.utime(place, (times.st_atime, times.st_mtime))


def copies(number: int, folder: Path) -> Iterator[Path]:
    """That many copies of the tree, compiled."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "_trial_temp*")
    for one in range(number):
        tree = folder / str(one)
        for name in ("chime_gateway", "tests", "twisted"):
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        for name in ("setup.cfg", "pyproject.toml"):
            shutil.copy2(ROOT / name, tree)
        compileall.compile_dir(tree, quiet=2)
        yield tree


def earlier(results: Path | None, again: bool) -> dict[str, str]:
    """
    What an earlier run has found.

    @param again: without those that survived.
    @return: by digest, the test module that noticed the mutant, or nothing.
    """
    if results is None or not results.exists():
        return {}
    lines = results.read_text(encoding="utf-8").splitlines()
    found = {one["digest"]: one["noticed by"] for one in map(json.loads, lines)}
    return {digest: by for digest, by in found.items() if by or not again}


def judge(
    chosen: Sequence[Mutant], jobs: int, known: dict[str, str], end: float
) -> Iterator[tuple[Mutant, str | None]]:
    """
    Each mutant with the test module that noticed it, with nothing where it survives,
    or with L{None} where there was no time for it.

    @param known: by digest, from an earlier run.
    @param end: of the monotonic clock; no mutant is begun after it.
    """
    trees: Queue[Path] = Queue()

    def tried(mutant: Mutant) -> tuple[Mutant, str | None]:
        if mutant.digest in known:
            return mutant, known[mutant.digest]
        if time.monotonic() > end:
            return mutant, None
        tree = trees.get()
        try:
            return mutant, noticed_by(mutant, tree)
        finally:
            trees.put(tree)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for tree in copies(jobs, Path(folder)):
            trees.put(tree)
        # A test that fails without a mutant would notice all of them.
        new = [mutant for mutant in chosen if mutant.digest not in known]
        names = sorted({name for one in new for step in steps(one) for name in step})
        for at in range(0, len(names), 40):
            if not passes(some := names[at : at + 40], tree):
                raise SystemExit(f"one fails without a mutant: {' '.join(some)}")
        yield from pool.map(tried, chosen)


def report(judged: Iterable[tuple[Mutant, str | None]], results: Path | None) -> float:
    """
    Print survivors, how far it is, and the counts.

    @param results: what is new is added to this file.
    @return: the share that was noticed.
    """
    known = earlier(results, again=False)
    counts = {True: 0, False: 0}
    untried = 0
    for mutant, by in judged:
        if by is None:
            untried += 1
            continue
        counts[bool(by)] += 1
        if not by:
            print(f"survived: {mutant}", flush=True)
        if results is not None and known.get(mutant.digest) != by:
            said = {"digest": mutant.digest, "mutant": str(mutant), "noticed by": by}
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(said) + "\n")
        if not sum(counts.values()) % 20:
            print(f"{sum(counts.values())} tried", flush=True)
    tried = sum(counts.values())
    share = counts[True] / tried if tried else 0.0
    print(f"{counts[True]} of {tried} mutants were noticed ({share:.1%})")
    if untried:
        print(f"{untried} were not tried for want of time")
    return share


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutation testing of a sample.")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--results", type=Path, help="a file; a later run goes on")
    parser.add_argument("--again", action="store_true", help="survivors as well")
    options = parser.parse_args()
    folders = [folder.resolve() for folder in options.folders] or [
        ROOT / "chime_gateway" / room for room in ROOMS
    ]
    chosen = sample(folders, options.count, options.seed)
    known = earlier(options.results, options.again)
    end = time.monotonic() + options.minutes * 60
    print(f"seed {options.seed}: {len(chosen)} mutants", flush=True)
    judged = judge(chosen, options.jobs, known, end)
    if report(judged, options.results) < LEAST_SHARE:
        raise SystemExit(f"fewer than {LEAST_SHARE:.0%}")


if __name__ == "__main__":
    main()
