"""
A file of C{Idempotency-Key}s; each change of a key appends a line.

The last line of a key counts.  The file is rewritten without expired keys at each
start.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chime_gateway.errors import ConfigError
from chime_gateway.http.api.idempotency import (
    KEPT_SECONDS,
    StoredKey,
    key_line,
    read_key_line,
)
from chime_gateway.net.system.private_files import private
from chime_gateway.net.system.threads import NoThreadFree
from chime_gateway.services import InThread

#: At this number of lines the file is rewritten while the process runs.
_MAX_LINES: Final = 300_000


def keys_path(folder: Path, instance: str) -> Path:
    """Return the path of an instance's key file, beside its journal."""
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"keys-{name}.jsonl"


class KeyFile:
    """
    The key file of one instance.

    @param in_thread: runs a function in a thread; used to write the file.
    @param is_alone: no other process appends to the file.
    """

    def __init__(
        self,
        path: Path,
        in_thread: InThread,
        wall_time: Callable[[], float] = time.time,
        max_lines: int = _MAX_LINES,
        *,
        is_alone: bool = True,
    ) -> None:
        self._path = path
        self._in_thread = in_thread
        self._wall_time = wall_time
        self._max_lines = max_lines
        self._is_alone = is_alone
        self._lines = 0
        self._writing = threading.Lock()

    def read(self) -> list[StoredKey]:
        """
        Read the keys at the start; blocks.

        @raise ConfigError: the file exists and cannot be read; without it, requests
            could be carried out twice.
        """
        try:
            keys = self._last_words()
        except OSError as exc:
            raise ConfigError(f"CHIMEGW_STATE: {self._path}: {exc}") from exc
        self._lines = len(keys)
        if self._is_alone:
            # If the file cannot be written, later requests with a key are refused.
            with contextlib.suppress(OSError):
                self._rewrite(keys)
        return keys

    def read_again(self) -> list[StoredKey]:
        """
        Read the keys again, with those that the previous process has added; blocks.

        @raise OSError: the file cannot be read.
        """
        return self._last_words()

    async def write(self, kept: StoredKey) -> None:
        """
        Write a key; it is on the disk when this returns.

        @raise OSError: it could not be written.
        """
        try:
            await self._in_thread(self._append, key_line(kept))
        except NoThreadFree as exc:
            raise OSError(str(exc)) from exc

    # -- in a thread -----------------------------------------------------------------

    def _append(self, line: str) -> None:
        with self._writing:
            self._append_alone(line)

    def _append_alone(self, line: str) -> None:
        if self._is_alone and self._lines >= self._max_lines:
            self._rewrite(self._last_words())
        descriptor = private(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            data = line.encode()
            if os.write(descriptor, data) != len(data):
                # End the partial line, so that the next entry starts on its own line.
                os.write(descriptor, b"\n")
                raise OSError("the disk is full: the entry was written partly")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._lines += 1

    def _last_words(self) -> list[StoredKey]:
        try:
            text = self._path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return []
        last: dict[str, StoredKey] = {}
        for line in text.splitlines():
            kept = read_key_line(line)
            if kept is not None:
                last.pop(kept.key, None)
                last[kept.key] = kept
        before = self._wall_time() - KEPT_SECONDS
        return sorted(
            (k for k in last.values() if k.at >= before and not k.is_released),
            key=lambda kept: kept.at,
        )

    def _rewrite(self, keys: list[StoredKey]) -> None:
        beside = self._path.with_suffix(".part")
        descriptor = private(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(descriptor, "w", encoding="utf-8") as out:
            out.writelines(map(key_line, keys))
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, self._path)
        self._lines = len(keys)
