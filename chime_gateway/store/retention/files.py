"""
Finds files that are old enough to delete: captures, and recordings without a row.

A row has the time at which its call began; for a file alone there is only the day, by
its folder, or the time of its last write.
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
    Of whole days; a day's folder goes with its last file.

    @param before: Unix seconds.
    """
    for day in _entries(folder):
        try:
            began = calendar.timegm(time.strptime(day.name, "%Y-%m-%d"))
        except ValueError:
            continue  # it is none of ours
        if began + _DAY_SECONDS > before:
            continue
        for file in _entries(day):
            if file.name.endswith(".wav"):
                yield Path(file.path)
        # There may be others' files in it.
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
