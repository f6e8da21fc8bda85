#!/usr/bin/env python3
"""
Write C{constraints.txt}: the versions of all packages that a gateway needs, as
installed here, where the tests have run with them.

    make environment && .venv/bin/python deploy/pin.py
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILE = Path(__file__).with_name("constraints.txt")
PACKAGE, EXTRA = "chime-gateway", "postgresql"

HEAD = """\
# The versions that the tests ran with: pip install -c constraints.txt ...
# Written by deploy/pin.py.
"""


def pinned() -> dict[str, str]:
    """Return the versions of all direct and indirect requirements, by name."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(PACKAGE, ""), (PACKAGE, EXTRA)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        installed = distribution(name)
        if name != PACKAGE:
            found[canonicalize_name(name)] = installed.version
        for text in installed.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": extra}):
                waiting += [
                    (requirement.name, one) for one in ("", *requirement.extras)
                ]
    return found


def main() -> None:
    lines = [f"{name}=={version}\n" for name, version in sorted(pinned().items())]
    FILE.write_text(HEAD + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
