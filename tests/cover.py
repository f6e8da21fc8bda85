"""
How much of the rooms where a call lives is run by the tests, branches counted.

tests/run.py has measured it where COVER is set in the environment: the pytest half of
the suite then runs under coverage (its C tracer; on these rooms it takes about twice
the processor time of that half).  This puts the parts together, prints each room, and
ends with status 1 where one has less than it should have.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from coverage import Coverage

ROOT = Path(__file__).parent.parent

#: Of all of them together, in percent.
LEAST: Final = 97.0

#: Of each: a room may not live on the others.
LEAST_OF_A_ROOM: Final = 95.5

ROOMS: Final = ("wire", "media", "call", "carriers", "agents")


@frozen
class Share:
    """
    Of lines and branches.

    @ivar run: how many of them.
    @ivar all: there are.
    """

    run: int
    all: int

    @property
    def percent(self) -> float:
        return 100 * self.run / self.all if self.all else 0.0

    def __add__(self, other: Share) -> Share:
        return Share(self.run + other.run, self.all + other.all)


def shares(report: Mapping[str, Any]) -> dict[str, Share]:
    """By room, of what coverage says of each file."""
    found = dict.fromkeys(ROOMS, Share(0, 0))
    for name, file in report["files"].items():
        room = Path(name).parts[1]
        said = file["summary"]
        found[room] += Share(
            said["covered_lines"] + said["covered_branches"],
            said["num_statements"] + said["num_branches"],
        )
    return found


def faults(found: Mapping[str, Share]) -> list[str]:
    """What is less than it should be; empty: nothing."""
    said = [
        f"{room}: {share.percent:.1f} %, at least {LEAST_OF_A_ROOM} are wanted"
        for room, share in found.items()
        if share.percent < LEAST_OF_A_ROOM
    ]
    together = sum(found.values(), Share(0, 0))
    if together.percent < LEAST:
        said.append(f"all: {together.percent:.1f} %, at least {LEAST} are wanted")
    return said


def main() -> None:
    os.chdir(ROOT)
    measured = Coverage()
    measured.combine(strict=True)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        measured.json_report(outfile=file.name)
        found = shares(json.loads(Path(file.name).read_text(encoding="utf-8")))
    for room, share in found.items():
        print(f"{room:9} {share.percent:6.2f} %  of {share.all} lines and branches")
    if "--missing" in sys.argv:
        out = io.StringIO()
        measured.report(file=out, show_missing=True, skip_covered=True)
        print(out.getvalue())
    together = sum(found.values(), Share(0, 0))
    print(f"all       {together.percent:6.2f} %")
    if said := faults(found):
        raise SystemExit("\n".join(said))


if __name__ == "__main__":
    main()
