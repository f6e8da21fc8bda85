"""
A file of C{Idempotency-Key}s: each change of a key appends a line.

The last line of a key counts.  The file is rewritten at each start, without expired
keys.
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
    KeptKey,
    key_line,
    read_key_line,
)
from chime_gateway.net.system.private_files import private
from chime_gateway.net.system.threads import NoThreadFree
from chime_gateway.services import InThread

#: After so many lines it is written anew in the middle of a run.
_MAX_LINES: Final = 300_000


def keys_path(folder: Path, instance: str) -> Path:
    """Where an instance keeps them, beside its journal."""
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"keys-{name}.jsonl"


class KeyFile:
    """
    @param in_thread: where files are written.
    @param is_alone: no other process appends to it.
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

    def read(self) -> list[KeptKey]:
        """
        At the start; blocks.

        @raise ConfigError: keys are there and cannot be read: what they have done
            would be done again.
        """
        try:
            keys = self._last_words()
        except OSError as exc:
            raise ConfigError(f"CHIMEGW_STATE: {self._path}: {exc}") from exc
        self._lines = len(keys)
        if self._is_alone:
            # A key that cannot be written is refused when it comes.
            with contextlib.suppress(OSError):
                self._rewrite(keys)
        return keys

    def read_again(self) -> list[KeptKey]:
        """
        What the process before this one has added; blocks.

        @raise OSError: it cannot be read.
        """
        return self._last_words()

    async def write(self, kept: KeptKey) -> None:
        """
        It is on the disk when this is done.

        @raise OSError: it is not.
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
                # The rest of the line may follow; it is none by itself.
                os.write(descriptor, b"\n")
                raise OSError("no room for all of it")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._lines += 1

    def _last_words(self) -> list[KeptKey]:
        try:
            text = self._path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return []
        last: dict[str, KeptKey] = {}
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

    def _rewrite(self, keys: list[KeptKey]) -> None:
        beside = self._path.with_suffix(".part")
        descriptor = private(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(descriptor, "w", encoding="utf-8") as out:
            out.writelines(map(key_line, keys))
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, self._path)
        self._lines = len(keys)
