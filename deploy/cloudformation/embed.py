#!/usr/bin/env python3
"""
Copy the systemd unit and constraints.txt into the machine's CloudFormation template, so
that each text has one source.

    python deploy/cloudformation/embed.py            write the template
    python deploy/cloudformation/embed.py --check    fail if it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
TEMPLATE = FOLDER / "gateway.yaml"

#: Each text, with the line before it; a line L{END} follows it.
TEXTS = {
    FOLDER.parent / "constraints.txt": "cat >/opt/chimegw/constraints.txt <<'END'",
    FOLDER.parent / "systemd" / "chimegw@.service": (
        "cat >/etc/systemd/system/chimegw@.service <<'END'"
    ),
}
END = "END"


def lines_of(text: Path) -> list[str]:
    """Leave out comments and empty lines, because user data has a size limit."""
    lines = text.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def embedded(template: str) -> str:
    """Return the template with the current texts in it."""
    for text, begin in TEXTS.items():
        before, found, rest = template.partition(begin + "\n")
        if not found:
            raise SystemExit(f"{TEMPLATE}: no line {begin}")
        margin = before.rpartition("\n")[2]
        _, end, behind = rest.partition(f"{margin}{END}\n")
        inner = "".join(f"{margin}{line}\n" for line in lines_of(text))
        template = before + found + inner + end + behind
    return template


def main() -> None:
    now = TEMPLATE.read_text(encoding="utf-8")
    then = embedded(now)
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if now == then else f"{TEMPLATE}: run {__file__}")
    TEMPLATE.write_text(then, encoding="utf-8")


if __name__ == "__main__":
    main()
