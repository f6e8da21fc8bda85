"""
Lint, types and the unit tests of what changed: what is run before every commit.

What changed is what git sees since the branch left its upstream, or in the last
commit where nothing is new, and what is not committed yet.  Tests mirror the
package, so a change in chime_gateway/a/b.py is tested by all of tests/a, and by
whatever else imports that module, itself or through what tests share.  Tests with
sockets are left to make test.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parent.parent
PACKAGE = Path("chime_gateway")
TESTS = Path("tests")
INTEGRATION = TESTS / "integration"

#: A change in one of these may change anything.
EVERYTHING: Final = ("setup.cfg", "pyproject.toml")

#: These are about the whole tree, and quick.
ALWAYS: Final = (TESTS / "test_layering.py",)

#: So many processes share the tests.
SHARES: Final = 2


def git(*arguments: str) -> str:
    """What git says, or nothing where it refuses."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def base() -> str:
    """The commit to compare with; empty: there is none, as in a shallow clone."""
    head = git("rev-parse", "HEAD")
    for upstream in ("@{upstream}", "origin/HEAD", "origin/main", "main"):
        found = git("merge-base", "HEAD", upstream)
        if found and found != head:
            return found
    return git("rev-parse", "--verify", "--quiet", "HEAD~1")


def changed(since: str) -> list[Path]:
    """Relative to the root, gone ones as well."""
    said = git("diff", "--name-only", "--no-renames", since)
    said += "\n" + git("ls-files", "--others", "--exclude-standard")
    return sorted({Path(line) for line in said.splitlines() if line})


def module(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Modules that it imports, and names from them, which may be modules too."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def unit_tests(files: Iterable[Path]) -> set[Path]:
    return {
        file
        for file in files
        if file.name.startswith("test_") and INTEGRATION not in file.parents
    }


def tests_of(changes: Sequence[Path]) -> set[Path]:
    """The test files that may notice."""
    files = [file.relative_to(ROOT) for file in (ROOT / TESTS).rglob("*.py")]
    if any(str(change) in EVERYTHING for change in changes):
        return unit_tests(files)
    found = {file for file in ALWAYS if file in files}
    for change in changes:
        if change.is_relative_to(PACKAGE):
            found |= mirror(change.relative_to(PACKAGE), files)
        elif change.is_relative_to(TESTS) and change.suffix != ".py":
            found |= mirror(change.relative_to(TESTS), files)
    # Who imports a change, itself or through what tests share.
    touched = {module(change) for change in changes if change.suffix == ".py"}
    imported = {module(file): imports(file) for file in files}
    while more := {
        name
        for name, names in imported.items()
        if name not in touched and names & touched
    }:
        touched |= more
    return unit_tests(found | {file for file in files if module(file) in touched})


def mirror(change: Path, files: Sequence[Path]) -> set[Path]:
    """
    The tests of its folder, or of the nearest one above that has any; of a module
    at the top those that begin with its name.
    """
    for folder in change.parents[:-1]:
        if found := [file for file in files if TESTS / folder in file.parents]:
            return set(found)
    top = change.parts[0].removesuffix(".py")
    return {
        file
        for file in files
        if file.parent == TESTS and file.name.startswith(f"test_{top}")
    }


def shares(files: Iterable[Path]) -> list[list[str]]:
    """About the same amount for each process, by size."""
    found: list[list[str]] = [[] for _ in range(SHARES)]
    sizes = [0] * SHARES
    for file in sorted(files, key=lambda file: -(ROOT / file).stat().st_size):
        least = sizes.index(min(sizes))
        found[least].append(module(file))
        sizes[least] += (ROOT / file).stat().st_size
    return [share for share in found if share]


def run(name: str, command: Sequence[str]) -> tuple[str, int, str]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return f"{name}, {time.monotonic() - began:.0f} s", done.returncode, done.stdout


def main() -> None:
    began = time.monotonic()
    since = base()
    if since:
        changes = changed(since)
        print(f"{len(changes)} files changed since {since[:10]}")
        files = tests_of(changes)
    else:
        print("there is no commit to compare with: all unit tests")
        files = unit_tests(p.relative_to(ROOT) for p in (ROOT / TESTS).rglob("*.py"))
    for file in sorted(files):
        print(f"  {file}")
    # The slowest first: types without a cache.
    steps = [
        ("types", ["-m", "mypy", "-p", "chime_gateway", "-p", "tests"]),
        ("format", ["-m", "ruff", "format", "--check", "."]),
        ("lint", ["-m", "ruff", "check", "."]),
    ]
    trial = ["-W", "error::RuntimeWarning", "-m", "twisted.trial", "--reporter=text"]
    steps += [
        (f"unit tests, share {number}", [*trial, *share])
        for number, share in enumerate(shares(files), 1)
    ]
    failed = []
    with ThreadPoolExecutor(len(steps)) as pool:
        for name, status, output in pool.map(lambda step: run(*step), steps):
            print(f"\n=== {name}\n{output.strip()}", flush=True)
            if status:
                failed.append(name)
    if failed:
        raise SystemExit(f"\nfailed: {'; '.join(failed)}")
    print(f"\nchecked in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
