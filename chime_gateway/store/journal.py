"""
What the database has not taken yet, in a file on this machine.

One JSON document a line.  A line that was cut by a crash is the last one, and is
left out.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from chime_gateway.errors import ConfigError
from chime_gateway.store.entries import Entry

#: So many are read at a time, when there are many.
CHUNK: Final = 500


class Journal:
    """
    Held by one process; used by one thread.

    @raise ConfigError: another gateway holds it, or the folder cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what could not be written must not come later.
            self._file: BinaryIO = open(path, "a+b", buffering=0)  # noqa: SIM115
        except OSError as exc:
            raise ConfigError(f"CHIMEGW_STATE {path.parent}: {exc}") from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._file.close()
            raise ConfigError(
                f"{path} belongs to a gateway that runs; give this one a name of its"
                " own (CHIMEGW_INSTANCE)"
            ) from exc
        beside = self._beside()
        if beside.exists():
            # A crash while it was shortened: some stand in it twice, which is
            # harmless.
            write_all(self._file, b"\n" + beside.read_bytes())
            beside.unlink()
        self.size = path.stat().st_size

    def _beside(self) -> Path:
        return self._path.with_suffix(".rest")

    def append(self, entries: Sequence[Entry]) -> None:
        """@raise OSError: they cannot be written; none of them is."""
        lines = b"".join(
            json.dumps(entry, separators=(",", ":")).encode() + b"\n"
            for entry in entries
        )
        before = self.size
        try:
            write_all(self._file, lines)
        except OSError:
            # A part of it may be there.
            self._file.truncate(before)
            raise
        self.size = before + len(lines)

    def chunks(self) -> Iterator[tuple[list[Entry], int]]:
        """All entries, some at a time, each with where the next one begins."""
        with open(self._path, "rb") as file:
            found: list[Entry] = []
            at = 0
            for line in file:
                at += len(line)
                try:
                    kind, values = json.loads(line)
                except (ValueError, TypeError):
                    continue
                found.append((kind, values))
                if len(found) >= CHUNK:
                    yield found, at
                    found = []
            if found:
                yield found, at

    def forget(self, upto: int) -> None:
        """What stood before C{upto} is in the database."""
        if upto >= self.size:
            self._file.truncate(0)
            self.size = 0
            return
        with open(self._path, "rb") as file:
            file.seek(upto)
            rest = file.read()
        # Written beside it first: a crash in between loses nothing.
        beside = self._beside()
        beside.write_bytes(rest)
        self._file.truncate(0)
        write_all(self._file, rest)
        beside.unlink()
        self.size = len(rest)

    def close(self) -> None:
        self._file.close()


def write_all(file: BinaryIO, data: bytes) -> None:
    """
    To a file without a buffer: a disk that is nearly full takes a part.

    @raise OSError: it is full.
    """
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
