"""
Writes down what happens, in a thread of its own.

Entries go to the journal first, then to the database.  When that is away, locked
or full, the journal grows, calls go on, and all is caught up later; the reactor
never waits.  What the entries mean is not known here.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DataError, IntegrityError
from twisted.logger import Logger

from chime_gateway.store.database import DELIVERY, TRIED, Database, Entry, Trouble
from chime_gateway.store.journal import Journal

#: So many entries are taken together.
_BATCH: Final = 200

#: A database that is away is tried again after so long, doubled up to the longest.
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0

#: Entries that are kept in memory when neither can be written to.
_MAX_HELD: Final = 50_000


class Keeper:
    """
    @param ready: run in the thread, when the database can be used and what an
        earlier run has left is in it.
    @param wrote: run in the thread, when something of deliveries was written.
    @param upkeep: run in the thread now and then, while the database can be used.
    @ivar counts: of entries, by what became of them.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        ready: Callable[[], None] = lambda: None,
        wrote: Callable[[], None] = lambda: None,
        upkeep: Callable[[], None] = lambda: None,
        upkeep_seconds: float = 30.0,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._database = database
        self._journal = journal
        self._ready = ready
        self._wrote = wrote
        self._upkeep = upkeep
        self._upkeep_seconds = upkeep_seconds
        self._upkeep_at = 0.0
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._held: deque[Entry] = deque()
        self._is_open = False
        self._is_stopping = False
        self._fault = ""
        self._retry_at = 0.0
        self._pause = _FIRST_PAUSE_SECONDS
        self._thread = threading.Thread(
            target=self._run, name="chimegw-keeper", daemon=True
        )

    # -- from the reactor --------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Write it down; returns at once."""
        self._queue.put(entry)

    def stop(self, seconds: float) -> None:
        """
        Write what there is; called in a thread of the pool.

        @param seconds: a database that is away is not waited for; this is for one
            that is slow.
        """
        self._is_stopping = True
        self._queue.put(None)
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._journal.close()

    @property
    def is_open(self) -> bool:
        """The database could be used, and what an earlier run has left is in it."""
        return self._is_open

    @property
    def fault(self) -> str:
        """Why the database takes nothing now; empty: it does."""
        return self._fault

    @property
    def backlog_bytes(self) -> int:
        """What the database has not taken yet."""
        return self._journal.size

    # -- in the thread -----------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                batch, is_last = self._next_batch()
                if batch:
                    self._take(batch)
                now = time.monotonic()
                if now >= self._retry_at or is_last:
                    self._catch_up()
                if is_last:
                    return
                if self._is_open and not self._fault and now >= self._upkeep_at:
                    self._upkeep_at = now + self._upkeep_seconds
                    self._try(self._upkeep)
        except Exception:
            self._fault = "its thread has stopped: a bug"
            self._log.failure("the keeper of records has stopped: a bug")

    def _next_batch(self) -> tuple[list[Entry], bool]:
        batch: list[Entry] = []
        wait = 0.2 if self._fault or not self._is_open else 1.0
        try:
            entry = self._queue.get(timeout=wait)
            while True:
                if entry is None:
                    return batch, True
                batch.append(entry)
                if len(batch) >= _BATCH:
                    return batch, False
                entry = self._queue.get_nowait()
        except queue.Empty:
            return batch, False

    def _take(self, batch: list[Entry]) -> None:
        """To the journal; to memory if that cannot be."""
        self._held.extend(batch)
        try:
            self._journal.append(self._held)
        except OSError as exc:
            if not self.counts["not_journaled"]:
                self._log.error("the journal cannot be written: {why}", why=str(exc))
            self.counts["not_journaled"] += len(batch)
            while len(self._held) > _MAX_HELD:
                self._held.popleft()
                self.counts["lost"] += 1
            return
        self._held.clear()

    def _catch_up(self) -> None:
        """Everything that is not in the database yet."""
        if not self._is_open:
            if not self._try(self._open):
                return
        elif not self._journal.size and not self._held and not self._fault:
            return
        self._try(self._empty)

    def _open(self) -> None:
        self._database.migrate()
        self._empty()
        self._ready()
        self._is_open = True

    def _empty(self) -> None:
        has_deliveries = False
        done = 0
        if self._journal.size:
            try:
                for entries, upto in self._journal.chunks():
                    self._apply(entries)
                    done = upto
                    has_deliveries |= _are_about_deliveries(entries)
                done = self._journal.size
            finally:
                if done:
                    self._journal.forget(done)
        if self._held:
            entries = list(self._held)
            self._apply(entries)
            self._held.clear()
            has_deliveries |= _are_about_deliveries(entries)
        if has_deliveries:
            self._wrote()

    def _apply(self, entries: Sequence[Entry]) -> None:
        try:
            self._database.apply(entries)
        except (IntegrityError, DataError):
            # One of them cannot be: the others must not suffer for it.
            for entry in entries:
                try:
                    self._database.apply([entry])
                except (IntegrityError, DataError) as exc:
                    self.counts["refused"] += 1
                    self._log.error(
                        "the database refuses an entry: {kind}: {why}",
                        kind=entry[0],
                        # The lines behind the first one quote the row.
                        why=_first_line(exc),
                    )
        self.counts["written"] += len(entries)

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except Trouble as exc:
            why = _first_line(exc)
            if not self._fault:
                self._log.error(
                    "the database takes nothing; records wait on this machine: {why}",
                    why=why,
                )
            self._fault = why or type(exc).__name__
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
            return False
        if self._fault:
            self._log.info("the database is back, and has all records")
        self._fault = ""
        self._pause = _FIRST_PAUSE_SECONDS
        return True


def _first_line(exc: Exception) -> str:
    return str(getattr(exc, "orig", None) or exc).strip().split("\n")[0][:200]


def _are_about_deliveries(entries: Sequence[Entry]) -> bool:
    """There is one more, or one less."""
    return any(kind in (DELIVERY, TRIED) for kind, _ in entries)


def journal_path(folder: Path, instance: str) -> Path:
    """Where an instance keeps what waits."""
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"journal-{name}.jsonl"
