"""A file for one test, gone with it, under either runner."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


def temporary_file(test: SynchronousTestCase, text: str = "") -> str:
    """The path of a new file with C{text} in it."""
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    Path(path).write_text(text, encoding="utf-8")
    test.addCleanup(os.remove, path)
    return path
