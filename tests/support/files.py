"""Files for one test, deleted after it, under either runner."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


def temporary_folder(test: SynchronousTestCase) -> Path:
    """Create a folder, which is deleted with its content after the test."""
    path = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


def temporary_file(test: SynchronousTestCase, content: str | bytes = "") -> str:
    """Create a file with this content, and return its path."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    Path(path).write_bytes(data)
    test.addCleanup(os.remove, path)
    return path
