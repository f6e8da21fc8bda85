"""A file for one test, gone with it, under either runner."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


def temporary_file(test: SynchronousTestCase, content: str | bytes = "") -> str:
    """The path of a new file with C{content} in it."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    Path(path).write_bytes(data)
    test.addCleanup(os.remove, path)
    return path
