"""
The whole suite under both runners, and their counts compared.

Trial alone would pass over a test that only pytest collects, and the other way
round, without a word.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TRIAL = ["-W", "error::RuntimeWarning", "-m", "twisted.trial", "--reporter=text"]


def run(arguments: list[str], pattern: str) -> int:
    """
    Run it, show what it says, and find the number of tests in that.
    """
    print("$ python", *arguments, flush=True)
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    status = process.wait()
    if status:
        raise SystemExit(f"failed with status {status}")
    found = re.findall(pattern, "".join(lines[-20:]))
    if len(found) != 1:
        raise SystemExit("no number of tests in the output")
    return int(found[0])


def main() -> None:
    by_trial = run([*TRIAL, "tests"], r"Ran (\d+) tests")
    by_pytest = run(["-m", "pytest", "-q", "tests"], r"(\d+) passed")
    if by_trial != by_pytest:
        raise SystemExit(f"trial ran {by_trial} tests, pytest {by_pytest}")
    print(f"both runners: {by_trial} tests")
    print(f"{by_trial} passed, 0 failed")


if __name__ == "__main__":
    main()
