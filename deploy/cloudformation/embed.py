#!/usr/bin/env python3
"""
Put the unit of systemd into the template of the machine: there is one text of it.

    python deploy/cloudformation/embed.py            write it
    python deploy/cloudformation/embed.py --check    is it the same?
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
UNIT = FOLDER.parent / "systemd" / "chimegw@.service"
TEMPLATE = FOLDER / "gateway.yaml"

#: Where it stands, a line before and a line behind.
BEGIN = "cat >/etc/systemd/system/chimegw@.service <<'END'"
END = "END"


def unit_lines() -> list[str]:
    """Without comments and empty lines: what a machine is given has a limit."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def embedded(template: str) -> str:
    """The template with the unit in it as it is."""
    before, begin, rest = template.partition(BEGIN + "\n")
    if not begin:
        raise SystemExit(f"{TEMPLATE}: no line {BEGIN}")
    margin = before.rpartition("\n")[2]
    _, end, behind = rest.partition(f"\n{margin}{END}\n")
    unit = "\n".join(margin + line for line in unit_lines())
    return before + begin + unit + end + behind


def main() -> None:
    now = TEMPLATE.read_text(encoding="utf-8")
    then = embedded(now)
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if now == then else f"{TEMPLATE}: run {__file__}")
    TEMPLATE.write_text(then, encoding="utf-8")


if __name__ == "__main__":
    main()
