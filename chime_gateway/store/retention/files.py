"""
Finds files that are old enough to delete: captures, and recordings without a row.

Without a row, the age of a recording is known from its folder, which is named by the
day; the age of a capture from its last write.
"""

from __future__ import annotations

import calendar
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DAY_SECONDS: Final = 86_400


def old_recordings(folder: Path, before: float) -> Iterator[Path]:
    """
    Yield the recordings of whole days, and delete the folders of days that are empty.

    @param before: Unix seconds.
    """
    for day in _entries(folder):
        try:
            began = calendar.timegm(time.strptime(day.name, "%Y-%m-%d"))
        except ValueError:
            continue  # not a folder of the gateway
        if began + _DAY_SECONDS > before:
            continue
        for file in _entries(day):
            if file.name.endswith(".wav"):
                yield Path(file.path)
        # It fails if there are other files in it.
        with contextlib.suppress(OSError):
            os.rmdir(day.path)


def old_captures(folder: Path, before: float) -> Iterator[Path]:
    """@param before: Unix seconds."""
    for file in _entries(folder):
        with contextlib.suppress(OSError):
            if file.name.endswith(".jsonl") and file.stat().st_mtime < before:
                yield Path(file.path)


def _entries(folder: str | Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []
