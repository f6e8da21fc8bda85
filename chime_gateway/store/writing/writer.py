"""
Writes entries: to the journal first, and from there to the database.

Each has a thread, so that a database that does not answer does not block the journal,
and neither blocks the reactor.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from chime_gateway.net.worker import WorkerThread
from chime_gateway.store.database import Database
from chime_gateway.store.entries import Entry
from chime_gateway.store.writing.applying import Applying
from chime_gateway.store.writing.backlog import MAX_HELD, Backlog, is_json
from chime_gateway.store.writing.journal import Journal
from chime_gateway.store.writing.journals import Journals

#: Most entries that are written to the journal at a time.
_BATCH: Final = 200

#: A database that has not accepted an entry for this time is considered unavailable.
LATE_SECONDS: Final = 5.0

#: A stop waits at least this long for the database, and checks this often whether it
#: has to hurry.
_HURRIED_SECONDS: Final = 0.3

#: A check of the database that takes longer has failed.
_SILENT_SECONDS: Final = 3.0


class Writer:
    """
    Writes entries.

    @param ready: called in the database's thread, when the database is available and
        has the entries of earlier runs.
    @param wrote: likewise, when entries about deliveries were written.
    @param upkeep: likewise, regularly, while the database is available; returns whether
        there is more to do at once.
    @param journal: that of this process.
    @param journals: those of all processes of this gateway.
    @param wall_time: returns Unix seconds.
    @param is_serving: C{False}: an older process takes new calls, until L{serve}.
    @ivar worker: the journal's thread.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        journal: Journal,
        journals: Journals,
        *,
        ready: Callable[[], None] = lambda: None,
        wrote: Callable[[], None] = lambda: None,
        upkeep: Callable[[], bool] = lambda: False,
        upkeep_seconds: float = 30.0,
        wall_time: Callable[[], float] = time.time,
        is_serving: bool = True,
    ) -> None:
        self._counts: Counter[str] = Counter()
        self._is_hurried = False
        self._wall_time = wall_time
        # When each entry was put that the thread has not finished with.
        self._put_at: deque[float] = deque()
        self._backlog = Backlog(journal)
        self._leave = lambda: journals.leave(journal)
        self._applying = Applying(
            database,
            self._backlog,
            journals,
            self._counts,
            ready=ready,
            wrote=wrote,
            upkeep=upkeep,
            upkeep_seconds=upkeep_seconds,
        )
        self._applying.may_change = is_serving
        self.worker: WorkerThread[Entry] = WorkerThread(
            "journal",
            self._work,
            max_jobs=MAX_HELD,
            batch=_BATCH,
            wait_seconds=lambda: 0.2 if self._backlog.in_memory else 60.0,
        )

    # -- from the reactor --------------------------------------------------------

    def start(self) -> None:
        self.worker.start()
        self._applying.worker.start()

    def serve(self) -> None:
        """This process takes new calls from now on."""
        self._applying.serve()

    def look_soon(self) -> None:
        """Another process of this gateway has ended: look for its journal."""
        self._applying.look_soon()

    def put(self, entry: Entry) -> None:
        """Write an entry; return at once."""
        self._put_at.append(time.monotonic())
        if not self.worker.offer(entry):
            self._put_at.pop()
            if self.worker.refused == 1:
                self._log.error("records are lost: too many are waiting to be written")

    def stop(self, seconds: float) -> None:
        """
        Write what is waiting; called in a thread of the pool.

        @param seconds: how long to wait for a slow database; an unavailable one is not
            waited for.
        """
        until = time.monotonic() + seconds
        is_done = self.worker.stop(seconds)
        is_done &= self._stop_applying(until)
        lost = self._backlog.in_memory
        if lost:
            self._counts["lost"] += lost
            self._log.error(
                "{count} records are lost at exit: neither the journal nor the"
                " database can be written: {why}",
                count=lost,
                why=self._backlog.disk_fault,
            )
        if is_done:
            self._leave()

    def hurry(self) -> None:
        """Make a stop not wait for the database: the journal keeps the rest."""
        self._is_hurried = True

    def _stop_applying(self, until: float) -> bool:
        """
        Stop the database's thread.

        @return: whether the database has all entries.
        """
        while not self._applying.worker.stop(_HURRIED_SECONDS):
            if self._is_hurried or time.monotonic() >= until:
                return False
        return True

    @property
    def workers(self) -> tuple[WorkerThread[Any], ...]:
        return self.worker, self._applying.worker

    @property
    def counts(self) -> Counter[str]:
        """The number of entries, by result."""
        counts = Counter(self._counts)
        counts["lost"] += self.worker.refused
        return counts

    @property
    def is_open(self) -> bool:
        """Whether the database was available and has the entries of earlier runs."""
        return self._applying.is_open

    @property
    def is_foreign(self) -> bool:
        """Whether the database's tables have another schema than this program's."""
        return self._applying.is_foreign

    @property
    def fault(self) -> str:
        """Why the database is unavailable; empty: it is available."""
        if self._applying.fault:
            return self._applying.fault
        asking = self._applying.asking_since
        silent = 0.0 if asking is None else time.monotonic() - asking
        if silent > _SILENT_SECONDS:
            return f"no answer for {silent:.0f} s"
        oldest = self.oldest_seconds
        if oldest > LATE_SECONDS:
            return f"the oldest record has waited for {oldest:.0f} s"
        return ""

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest entry has been waiting for the database; 0: none is."""
        since = self._backlog.oldest_at
        if since is None:
            try:
                since = self._put_at[0]
            except IndexError:
                return 0.0
        return max(0.0, time.monotonic() - since)

    @property
    def backlog_bytes(self) -> int:
        """The bytes on the disk that are not in the database yet."""
        return self._backlog.waiting_bytes

    # -- in the journal's thread -----------------------------------------------------

    def _work(self, batch: list[Entry]) -> None:
        try:
            self._journal(batch)
        finally:
            for _ in batch:
                self._put_at.popleft()
        if self._backlog:
            self._applying.wake()

    def _journal(self, batch: list[Entry]) -> None:
        if not batch and not self._backlog.in_memory:
            return
        now = time.monotonic()
        at = self._put_at[0] if batch else now
        wall_at = self._wall_time() - (now - at)
        try:
            lost = self._backlog.add(batch, at, wall_at)
        except ValueError:
            good = self._json_only(batch)
            lost = self._backlog.add(good, at, wall_at)
        self._counts["lost"] += lost
        if batch and self._backlog.disk_fault:
            if not self._counts["not_journaled"]:
                self._log.error(
                    "the journal cannot be written: {why}", why=self._backlog.disk_fault
                )
            self._counts["not_journaled"] += len(batch)

    def _json_only(self, batch: list[Entry]) -> list[Entry]:
        """Return the entries that are JSON, so that only the others are lost."""
        good = []
        for entry in batch:
            if is_json(entry):
                good.append(entry)
            else:
                self._counts["refused"] += 1
                self._counts["lost"] += 1
                self._log.error("an entry is not JSON: {kind}", kind=entry[0])
        return good
