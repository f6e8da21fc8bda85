"""
The entries that are not in the database yet: in the journal, or in memory while the
disk does not accept them.

One thread adds entries, another removes them; neither waits for the other's work.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

from chime_gateway.store.entries import Entry
from chime_gateway.store.writing.journal import CHUNK, Chunk, Journal

#: Entries that are kept in memory while the disk cannot be written.
MAX_HELD: Final = 50_000


class Backlog:
    """
    The journal, and entries in memory.

    @ivar disk_fault: why the journal cannot be written; empty: it can.
    """

    def __init__(self, journal: Journal) -> None:
        self.disk_fault = ""
        self._journal = journal
        self._lock = threading.Lock()
        self._held: deque[tuple[float, Entry]] = deque()
        # How many of them are being written to the database.
        self._taken = 0

    def __bool__(self) -> bool:
        return bool(self._journal.waiting or self._held)

    @property
    def waiting_bytes(self) -> int:
        """The bytes on the disk that are not in the database yet."""
        return self._journal.waiting

    @property
    def oldest_at(self) -> float | None:
        """Like L{Journal.oldest_at}, including entries in memory."""
        with self._lock:
            found = self._journal.oldest_at
            if found is None and self._held:
                found = self._held[0][0]
            return found

    def add(self, entries: Sequence[Entry], at: float, wall_at: float) -> int:
        """
        Add entries to the journal, or to memory if it cannot be written.

        @param at: when the first of them was made, monotonic.
        @param wall_at: the same in Unix seconds.
        @return: how many had to be dropped because the memory is full.
        @raise ValueError: one of them is not JSON; none is added.
        """
        if not all(is_json(entry) for entry in entries):
            raise ValueError("an entry is not JSON")
        with self._lock:
            self._held.extend((at, entry) for entry in entries)
            if not self._taken:
                self._to_disk(at, wall_at)
            return self._bounded()

    def _to_disk(self, at: float, wall_at: float) -> None:
        """
        Write to the journal what is in memory, until that fails.  It is written in
        parts, so that a failed attempt stays cheap even if there is much in memory.
        """
        while self._held:
            part = list(islice(self._held, CHUNK))
            oldest = part[0][0]
            try:
                self._journal.append(
                    [entry for _, entry in part], oldest, wall_at - (at - oldest)
                )
            except OSError as exc:
                self.disk_fault = str(exc.strerror or exc)
                return
            self.disk_fault = ""
            for _ in part:
                self._held.popleft()

    def _bounded(self) -> int:
        """
        Drop the newest entries if too many are waiting.

        @return: how many.
        """
        lost = max(0, len(self._held) - MAX_HELD)
        for _ in range(lost):
            self._held.pop()
        return lost

    @property
    def in_memory(self) -> int:
        """The number of entries in memory, while the disk cannot be written."""
        return len(self._held)

    def chunks(self) -> Iterator[Chunk]:
        return self._journal.chunks()

    def forget(self, upto: int) -> None:
        with self._lock:
            self._journal.forget(upto)

    @contextmanager
    def held(self) -> Iterator[list[Entry]]:
        """
        Return the entries in memory; none while older ones are in the journal.  At the
        end of the context they are removed, unless it raises an exception.

        Entries that are added meanwhile wait behind them.
        """
        with self._lock:
            self._taken = 0 if self._journal.waiting else len(self._held)
            taken = [entry for _, entry in self._held][: self._taken]
        try:
            yield taken
        except BaseException:
            with self._lock:
                self._taken = 0
            raise
        with self._lock:
            for _ in range(self._taken):
                self._held.popleft()
            self._taken = 0


def is_json(entry: Entry) -> bool:
    try:
        json.dumps(entry)
    except (TypeError, ValueError):
        return False
    return True
