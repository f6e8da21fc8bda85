"""
Writes down what happens, in a thread of its own.

Entries go to the journal first, then to the database.  When that is away, locked
or full, the journal grows, calls go on, and all is caught up later; the reactor
never waits.  What the entries mean is not known here.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DataError, IntegrityError
from twisted.logger import Logger

from chime_gateway.net.backoff import BackOff
from chime_gateway.net.worker import WorkerThread
from chime_gateway.store.database import Database, Trouble
from chime_gateway.store.entries import DELIVERY, TRIED, Entry
from chime_gateway.store.journal import Journal

#: So many entries are taken together.
_BATCH: Final = 200

#: A database that is away is tried again after so long.
_BACK_OFF: Final = BackOff.doubling(0.5, 10.0)

#: Entries that are kept in memory: on their way to the thread, and in it when
#: neither can be written to.
_MAX_HELD: Final = 50_000

#: What a database says of an entry that can never be.
_REFUSALS: Final = (IntegrityError, DataError)


class Writer:
    """
    @param ready: run in the thread, when the database can be used and what an
        earlier run has left is in it.
    @param wrote: run in the thread, when something of deliveries was written.
    @param upkeep: run in the thread now and then, while the database can be used.
    @ivar worker: the thread.
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
        self._counts: Counter[str] = Counter()
        self._database = database
        self._journal = journal
        self._ready = ready
        self._wrote = wrote
        self._upkeep = upkeep
        self._upkeep_seconds = upkeep_seconds
        self._upkeep_at = 0.0
        self._held: deque[Entry] = deque()
        self._is_open = False
        self._fault = ""
        self._retry_at = 0.0
        self._failures = 0
        self.worker: WorkerThread[Entry] = WorkerThread(
            "writer",
            self._work,
            max_jobs=_MAX_HELD,
            batch=_BATCH,
            wait_seconds=lambda: 0.2 if self._fault or not self._is_open else 1.0,
            last=self._catch_up,
        )

    # -- from the reactor --------------------------------------------------------

    def start(self) -> None:
        self.worker.start()

    def put(self, entry: Entry) -> None:
        """Write it down; returns at once."""
        if not self.worker.offer(entry) and self.worker.refused == 1:
            self._log.error("records are lost: too many wait to be written down")

    def stop(self, seconds: float) -> None:
        """
        Write what there is; called in a thread of the pool.

        @param seconds: a database that is away is not waited for; this is for one
            that is slow.
        """
        if self.worker.stop(seconds):
            self._journal.close()

    @property
    def counts(self) -> Counter[str]:
        """Entries, by what became of them."""
        counts = Counter(self._counts)
        counts["lost"] += self.worker.refused
        return counts

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

    def _work(self, batch: list[Entry]) -> None:
        if batch:
            self._take(batch)
        now = time.monotonic()
        if now >= self._retry_at:
            self._catch_up()
        if self._is_open and not self._fault and now >= self._upkeep_at:
            self._upkeep_at = now + self._upkeep_seconds
            self._done_beside(self._upkeep)

    def _take(self, batch: Sequence[Entry]) -> None:
        """To the journal; to memory if that cannot be."""
        self._held.extend(batch)
        try:
            try:
                self._journal.append(self._held)
            except (TypeError, ValueError):
                # One of them is no JSON: the others must not suffer for it.
                self._drop_what_is_no_json()
                self._journal.append(self._held)
            self._held.clear()
        except OSError as exc:
            if not self._counts["not_journaled"]:
                self._log.error("the journal cannot be written: {why}", why=str(exc))
            self._counts["not_journaled"] += len(batch)
        finally:
            while len(self._held) > _MAX_HELD:
                self._held.popleft()
                self._counts["lost"] += 1

    def _drop_what_is_no_json(self) -> None:
        entries = list(self._held)
        self._held.clear()
        for entry in entries:
            try:
                json.dumps(entry)
            except (TypeError, ValueError):
                self._counts["refused"] += 1
                self.worker.note_bug()
            else:
                self._held.append(entry)

    def _catch_up(self) -> None:
        """Everything that is not in the database yet."""
        if self._is_open and not (self._journal.size or self._held or self._fault):
            return
        try:
            if not self._is_open:
                self._database.migrate()
            self._empty()
        except Trouble as exc:
            self._is_away(exc)
            return
        except Exception:
            # The worker says so and goes on; this is not tried again at once.
            self._wait_because("a bug; the log has a traceback")
            raise
        if not self._is_open:
            self._is_open = self._done_beside(self._ready)
            if not self._is_open:
                return
        if self._fault:
            self._log.info("the database is back, and has all records")
        self._fault = ""
        self._failures = 0

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
            self._done_beside(self._wrote)

    def _apply(self, entries: Sequence[Entry]) -> None:
        try:
            self._database.apply(entries)
        except Exception as exc:
            if isinstance(exc, Trouble) and not isinstance(exc, _REFUSALS):
                raise
            # One of them cannot be: the others must not suffer for it.
            for entry in entries:
                self._apply_alone(entry)
        self._counts["written"] += len(entries)

    def _apply_alone(self, entry: Entry) -> None:
        try:
            self._database.apply([entry])
        except _REFUSALS as exc:
            self._counts["refused"] += 1
            self._log.error(
                "the database refuses an entry: {kind}: {why}",
                kind=entry[0],
                # The lines behind the first one quote the row.
                why=_first_line(exc),
            )
        except Trouble:
            raise
        except Exception:
            self._counts["refused"] += 1
            self.worker.note_bug()

    def _done_beside(self, do: Callable[[], None]) -> bool:
        """
        A bug in it does not keep records from being written.

        @return: the database could be used.
        """
        try:
            do()
        except Trouble as exc:
            self._is_away(exc)
            return False
        except Exception:
            self.worker.note_bug()
        return True

    def _is_away(self, exc: Exception) -> None:
        why = _first_line(exc) or type(exc).__name__
        if not self._fault:
            self._log.error(
                "the database takes nothing; records wait on this machine: {why}",
                why=why,
            )
        self._wait_because(why)

    def _wait_because(self, why: str) -> None:
        self._fault = why
        self._failures += 1
        self._retry_at = time.monotonic() + _BACK_OFF.pause(self._failures)


def _first_line(exc: Exception) -> str:
    return str(getattr(exc, "orig", None) or exc).strip().split("\n")[0][:200]


def _are_about_deliveries(entries: Sequence[Entry]) -> bool:
    """There is one more, or one less."""
    return any(kind in (DELIVERY, TRIED) for kind, _ in entries)


def journal_path(folder: Path, instance: str) -> Path:
    """Where an instance keeps what waits."""
    name = instance.replace(":", "-").replace("/", "-")
    return folder / f"journal-{name}.jsonl"
