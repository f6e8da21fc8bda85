"""A file for one test, gone with it, under either runner."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


def temporary_folder(test: SynchronousTestCase) -> Path:
    """A new folder, gone with the test and all that is in it."""
    path = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


def temporary_file(test: SynchronousTestCase, content: str | bytes = "") -> str:
    """The path of a new file with C{content} in it."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    Path(path).write_bytes(data)
    test.addCleanup(os.remove, path)
    return path
