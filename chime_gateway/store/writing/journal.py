"""
The journal: a file on this machine with the entries that the database does not have
yet.

It has one JSON document per line.  A list is an entry.  Anything else, and any line
that cannot be read, is left for versions that understand it.
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

#: Most entries that are read at a time.
CHUNK: Final = 500

#: Most positions in the file whose time is known; if there are more, every second one
#: is dropped.
_MAX_MARKS: Final = 1000

#: The header is looked for within this many bytes.
_HEAD_WITHIN: Final = 65_536


class Held(ConfigError):
    """Another process has locked the journal."""


@frozen
class Chunk:
    """
    A part of a journal.

    @ivar unreadable: lines that are not entries.
    @ivar upto: where the next chunk begins.
    """

    entries: Sequence[Entry]
    unreadable: Sequence[bytes]
    upto: int


class Journal:
    """
    One journal, locked by a process as long as that runs.

    One thread appends, another reads and forgets.  The callers lock, except for
    reading.

    @ivar size: of the file, in bytes.
    @ivar begin: everything before this position is in the database.
    @param now: monotonic.
    @param wall_now: Unix seconds.
    @param patience: how long to wait for a process that only checks the lock, in
        seconds.
    @raise ConfigError: the folder cannot be used.
    @raise Held: another process has locked the journal.
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
                f"{path} belongs to a gateway that is running; give this one another"
                " name (CHIMEGW_INSTANCE)"
            ) from exc
        except OSError as exc:
            raise ConfigError(
                f"CHIMEGW_STATE {path.parent}: the journal cannot be opened: {exc}"
            ) from exc
        self.begin = 0
        self.size = path.stat().st_size
        # A crash may have left an incomplete last line: the next one must not join it.
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
        """When the oldest waiting entry was made, or a little earlier; monotonic."""
        return self._marks[0][1] if self.waiting and self._marks else None

    def append(
        self, entries: Sequence[Entry], at: float = 0.0, wall_at: float = 0.0
    ) -> None:
        """
        Append entries.

        @param at: when the first of them was made, monotonic.
        @param wall_at: the same in Unix seconds, for a later run.
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
            # A part of them may have been written.
            self._is_torn = True
            try:
                self._file.truncate(before)
            except OSError:
                # That part stays; later lines follow it.
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
        """Yield all pending entries in chunks."""
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
            # Each position is yielded once: later entries may follow it when the reader
            # forgets it.
            if at > told:
                yield Chunk(entries, unreadable, at)

    def forget(self, upto: int) -> None:
        """Drop everything before C{upto}: it is in the database."""
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
        Delete the file, whose entries are all in the database.

        @raise OSError: that failed.
        """
        self._path.unlink(missing_ok=True)
        self._file.close()

    def rename(self, path: Path) -> None:
        """@raise OSError: that failed."""
        os.rename(self._path, path)
        self._path = path

    def close(self) -> None:
        self._file.close()


def _held(path: Path, patience: float) -> BinaryIO:
    """
    Open and lock a journal.

    @raise BlockingIOError: another process has locked it.
    @raise OSError: it cannot be opened.
    """
    make_folder(path.parent)
    until = time.monotonic() + patience
    while True:
        # Unbuffered: data of a failed write must not be written later.
        file: BinaryIO = open(  # noqa: SIM115
            path, "a+b", buffering=0, opener=private
        )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A process that looks for abandoned journals may have deleted the new file.
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
    """Return the header: the version that writes, and the time of the first entry."""
    head = {"journal": 1, "gateway": __version__, "since": round(wall_at, 3)}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n"


def _document(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def entry_of(line: bytes) -> Entry | None:
    """Return the entry in a line; C{None}: the line is not an entry."""
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
    """Return since when entries have been waiting in a file of an earlier run."""
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
    Write all data to an unbuffered file.  (One C{write} may write only a part if the
    disk is nearly full.)

    @raise OSError: the disk is full.
    """
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def journal_path(folder: Path, instance: str) -> Path:
    """Return the path of an instance's journal."""
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"journal-{name}.jsonl"
