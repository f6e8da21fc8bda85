"""
Modules of C{benchmarks/}, which is no package: its programs find each other by
C{PYTHONPATH}.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent.parent.parent / "benchmarks"


def module(name: str) -> Any:
    """It, and what it imports of the others."""
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
