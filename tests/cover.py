"""
Branch coverage of the packages that carry a call, with the share that is required.

    make coverage                                  unit tests, and what they do not run
    python tests/cover.py --missing tests/media    of some tests; further options are
                                                   those of pytest

make test measures its unit tests under pytest with this as well.  The probes of
slipcover remove themselves once they are hit, and cost next to nothing; a tracer, as
coverage.py has it before Python 3.12, doubles the time of these tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

ROOT = Path(__file__).parent.parent

#: In percent of the lines and branches of all packages together.
LEAST: Final = 97.0

#: In percent of each package, so that none relies on the others.
LEAST_OF_A_PACKAGE: Final = 95.5

PACKAGES: Final = ("wire", "media", "call", "carriers", "agents")


@frozen
class Share:
    """
    Of lines and branches.

    @ivar run: number that tests have run.
    @ivar all: number of all.
    """

    run: int
    all: int

    @property
    def percent(self) -> float:
        return 100 * self.run / self.all if self.all else 0.0

    def __add__(self, other: Share) -> Share:
        return Share(self.run + other.run, self.all + other.all)


def shares(results: Mapping[str, Any]) -> dict[str, Share]:
    """By package."""
    found = dict.fromkeys(PACKAGES, Share(0, 0))
    for name, file in results["files"].items():
        counts = file["summary"]
        run = counts["covered_lines"] + counts["covered_branches"]
        missing = counts["missing_lines"] + counts["missing_branches"]
        found[Path(name).parts[1]] += Share(run, run + missing)
    return found


def faults(found: Mapping[str, Share]) -> list[str]:
    """What is below the required share, one line each."""
    said = [
        f"coverage of {package} is {share.percent:.1f} %, below {LEAST_OF_A_PACKAGE} %"
        for package, share in found.items()
        if share.percent < LEAST_OF_A_PACKAGE
    ]
    together = sum(found.values(), Share(0, 0))
    if together.percent < LEAST:
        said.append(f"coverage of all is {together.percent:.1f} %, below {LEAST} %")
    return said


def missing(results: Mapping[str, Any]) -> list[str]:
    """What no test runs, one line for each file: lines, and branches as 12->15."""
    said = []
    for name, file in sorted(results["files"].items()):
        lines = file["missing_lines"]
        # Of a branch to a line that is not run, the line is enough.
        branches = [
            f"{here}->{there or 'exit'}"
            for here, there in file["missing_branches"]
            if here not in lines and there not in lines
        ]
        if lines or branches:
            said.append(f"{name}: {', '.join([*map(str, lines), *branches])}")
    return said


def table(found: Mapping[str, Share]) -> str:
    rows = [*found.items(), ("all", sum(found.values(), Share(0, 0)))]
    return "\n".join(
        f"coverage of {package}: {share.percent:.2f} % of {share.all} lines, branches"
        for package, share in rows
    )


def measure(arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """
    @param arguments: of pytest.
    @return: its status, and the results by file.
    """
    source = ",".join(f"chime_gateway/{package}" for package in PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.json")
        # Probes go at once, and without the search for functions that some tests count.
        command = ["-m", "slipcover", "--immediate", "--dont-wrap-pytest", "--branch"]
        command += ["--source", source, "--json", "--out", str(results)]
        command += ["-m", "pytest", *arguments]
        done = subprocess.run([sys.executable, *command], cwd=ROOT)
        return done.returncode, json.loads(results.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--missing", action="store_true", help="what is not run")
    options, arguments = parser.parse_known_args()
    status, results = measure(arguments)
    found = shares(results)
    if options.missing:
        print("\n".join(missing(results)))
    print(table(found))
    if status:
        raise SystemExit(status)
    if said := faults(found):
        raise SystemExit("\n".join(said))


if __name__ == "__main__":
    main()
