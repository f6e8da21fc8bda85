"""
The journal: a file on this machine with the entries that the database does not have
yet.

It has one JSON document per line.  A list is an entry; anything else is left for
programs that understand it, as is a line that cannot be read.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from chime_gateway import __version__
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.private_files import make_folder, private
from chime_gateway.store.entries import Entry

#: So many are read at a time, when there are many.
CHUNK: Final = 500

#: Places in the file whose time is known; when there are more, every other is
#: forgotten.
_MAX_MARKS: Final = 1000

#: A journal's head is looked for so far into it.
_HEAD_WITHIN: Final = 65_536


class Held(ConfigError):
    """Another process has it."""


@frozen
class Chunk:
    """
    @ivar unreadable: lines that are no entries.
    @ivar upto: where the next chunk begins.
    """

    entries: Sequence[Entry]
    unreadable: Sequence[bytes]
    upto: int


class Journal:
    """
    Held by one process as long as it lives.  One thread appends, another reads and
    forgets; both under a lock of theirs, but for reading.

    @ivar size: of the file, in bytes.
    @ivar begin: what stands before is in the database.
    @param now: monotonic.
    @param wall_now: Unix seconds.
    @param patience: seconds, for whoever only looks whether somebody has it.
    @raise ConfigError: the folder cannot be used; L{Held}: another gateway holds it.
    """

    def __init__(
        self,
        path: Path,
        now: float = 0.0,
        wall_now: float = 0.0,
        patience: float = 0.0,
    ) -> None:
        self._path = path
        try:
            self._file = _held(path, patience)
        except BlockingIOError as exc:
            raise Held(
                f"{path} belongs to a gateway that runs; give this one a name of its"
                " own (CHIMEGW_INSTANCE)"
            ) from exc
        except OSError as exc:
            raise ConfigError(f"CHIMEGW_STATE {path.parent}: {exc}") from exc
        self.begin = 0
        self.size = path.stat().st_size
        # A crash may have cut the last line: the next one is not part of it.
        self._is_torn = self.size > 0 and _last_byte(path) != b"\n"
        self._needs_head = True
        self._marks: deque[tuple[int, float]] = deque()
        if self.size:
            self._marks.append((0, now - max(0.0, wall_now - _since(path, wall_now))))

    @property
    def waiting(self) -> int:
        """The number of bytes that are not in the database yet."""
        return self.size - self.begin

    @property
    def oldest_at(self) -> float | None:
        """When the oldest entry that waits was made, or a little before; monotonic."""
        return self._marks[0][1] if self.waiting and self._marks else None

    def append(
        self, entries: Sequence[Entry], at: float = 0.0, wall_at: float = 0.0
    ) -> None:
        """
        @param at: when the first of them was made, monotonic.
        @param wall_at: the same, for a later run.
        @raise OSError: they cannot be written; none of them is.
        """
        lines = b"".join(_line(entry) for entry in entries)
        if self._needs_head or not self.size:
            lines = _head(wall_at) + lines
        if self._is_torn:
            lines = b"\n" + lines
        before = self.size
        try:
            write_all(self._file, lines)
        except OSError:
            # A part of it may be there.
            self._is_torn = True
            try:
                self._file.truncate(before)
            except OSError:
                # And stays: what comes next stands behind it.
                self.size = os.fstat(self._file.fileno()).st_size
            else:
                self._is_torn = False
            raise
        self._is_torn = self._needs_head = False
        self.size = before + len(lines)
        self._marks.append((before, at))
        if len(self._marks) > _MAX_MARKS:
            self._marks = deque(list(self._marks)[::2])

    def chunks(self) -> Iterator[Chunk]:
        """All pending entries, some at a time."""
        until = self.size
        with open(self._path, "rb") as file:
            at = told = self.begin
            file.seek(at)
            entries: list[Entry] = []
            unreadable: list[bytes] = []
            while at < until:
                line = file.readline()
                if not line:
                    break
                at += len(line)
                entry = entry_of(line)
                if entry is not None:
                    entries.append(entry)
                elif not _is_head(line):
                    unreadable.append(line)
                if len(entries) >= CHUNK or len(unreadable) >= CHUNK:
                    yield Chunk(entries, unreadable, at)
                    entries, unreadable, told = [], [], at
            # A place is told once: behind it others may stand when it is forgotten.
            if at > told:
                yield Chunk(entries, unreadable, at)

    def forget(self, upto: int) -> None:
        """All before C{upto} is in the database: drop it."""
        self.begin = upto
        if upto >= self.size:
            self._file.truncate(0)
            self.begin = self.size = 0
            self._is_torn = False
            self._marks.clear()
        while len(self._marks) > 1 and self._marks[1][0] <= upto:
            self._marks.popleft()

    def remove(self) -> None:
        """
        It is done with; nobody else finds it.

        @raise OSError: it cannot be.
        """
        self._path.unlink(missing_ok=True)
        self._file.close()

    def rename(self, path: Path) -> None:
        """@raise OSError: it cannot be."""
        os.rename(self._path, path)
        self._path = path

    def close(self) -> None:
        self._file.close()


def _held(path: Path, patience: float) -> BinaryIO:
    """
    @raise BlockingIOError: another process has it.
    @raise OSError: it cannot be opened.
    """
    make_folder(path.parent)
    until = time.monotonic() + patience
    while True:
        # Unbuffered: what could not be written must not come later.
        file: BinaryIO = open(  # noqa: SIM115
            path, "a+b", buffering=0, opener=private
        )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever looks for what is left may have taken a new one for it.
            if is_file_of(path, file.fileno()):
                return file
        except BlockingIOError:
            if time.monotonic() >= until:
                file.close()
                raise
            time.sleep(0.01)
        except OSError:
            file.close()
            raise
        file.close()


def is_file_of(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to the open file."""
    try:
        found, held = os.stat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _head(wall_at: float) -> bytes:
    """Not an entry: who wrote those behind it, and since when they wait."""
    head = {"journal": 1, "gateway": __version__, "since": round(wall_at, 3)}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n"


def _document(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def entry_of(line: bytes) -> Entry | None:
    """The entry of a line; C{None}: the line is none."""
    found = _document(line)
    if not isinstance(found, list) or len(found) != 2:
        return None
    kind, values = found
    if not isinstance(kind, str) or not isinstance(values, dict):
        return None
    return kind, values


def _is_head(line: bytes) -> bool:
    if not line.strip():
        return True
    found = _document(line)
    return isinstance(found, dict) and found.get("journal") == 1


def _since(path: Path, wall_now: float) -> float:
    """Since when entries wait in a file that an earlier run has left."""
    with open(path, "rb") as file:
        start = file.read(_HEAD_WITHIN)
    for line in start.splitlines():
        found = _document(line)
        since = found.get("since") if isinstance(found, dict) else None
        if isinstance(since, (int, float)) and 0 < since <= wall_now:
            return float(since)
    return os.path.getmtime(path)


def _last_byte(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def write_all(file: BinaryIO, data: bytes) -> None:
    """
    To a file without a buffer: a disk that is nearly full takes a part.

    @raise OSError: it is full.
    """
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def journal_path(folder: Path, instance: str) -> Path:
    """The path of an instance's journal."""
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"journal-{name}.jsonl"
