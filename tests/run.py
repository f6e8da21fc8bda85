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


def run(arguments: list[str]) -> str:
    """
    Run it, show what it says, and give the end of that.
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
    return "".join(lines[-20:])


def count(pattern: str, said: str) -> int:
    found = re.findall(pattern, said)
    return int(found[-1]) if found else 0


def main() -> None:
    said = run([*TRIAL, "tests"])
    by_trial = count(r"Ran (\d+) tests", said)
    skipped = count(r"skips=(\d+)", said)
    said = run(["-m", "pytest", "-q", "-rs", "tests"])
    by_pytest = count(r"(\d+) passed", said) + count(r"(\d+) skipped", said)
    if not by_trial or by_trial != by_pytest:
        raise SystemExit(f"trial ran {by_trial} tests, pytest {by_pytest}")
    print(f"both runners: {by_trial} tests")
    if skipped:
        print(f"{skipped} skipped: the reasons are above")
    print(f"{by_trial - skipped} passed, 0 failed")


if __name__ == "__main__":
    main()
