"""
Imports modules of C{benchmarks/}, which is not a package: its programs find each other
by C{PYTHONPATH}.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent.parent.parent / "benchmarks"


def module(name: str) -> Any:
    """Import a module, which may import others of that folder."""
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
