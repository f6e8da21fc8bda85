"""
Writes the backlog to the database, in order, in a separate thread.

While the database is unavailable, locked, full, read-only or of a newer schema, writes
are repeated.  An entry that can never be written is set aside, so that it does not
block the others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from twisted.logger import Logger

from chime_gateway.net.backoff import BackOff
from chime_gateway.net.worker import WorkerThread
from chime_gateway.store.database import Database, DatabaseUnavailable, is_refusal
from chime_gateway.store.entries import DELIVERY, TRIED, Entry
from chime_gateway.store.schema import WrongSchema
from chime_gateway.store.writing.aside import Aside
from chime_gateway.store.writing.backlog import Backlog
from chime_gateway.store.writing.journal import Journal, entry_of
from chime_gateway.store.writing.journals import Journals

#: When an unavailable database is tried again.
_BACK_OFF: Final = BackOff.doubling(0.5, 5.0)

#: A process that ends releases its journal within this time after its channel.
_MOMENT_SECONDS: Final = 1.0

#: How often an unused database is checked.
_PING_SECONDS: Final = 5.0


class Applying:
    """
    The thread that writes to the database.

    @ivar worker: the thread; its jobs only wake it.
    @ivar fault: why the database is unavailable; empty: it is available.
    @ivar is_foreign: it is unavailable because its tables have another schema.
    @ivar is_open: it was available, and has the entries of ended processes.
    @ivar asking_since: since when a check has been waiting for its answer; monotonic.
    @ivar may_change: tables of an older version may be upgraded.
    @param counts: the number of entries, by result.
    @param journals: the journals of ended processes, among others.
    @param upkeep: returns whether there is more to do at once.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        backlog: Backlog,
        journals: Journals,
        counts: Counter[str],
        *,
        ready: Callable[[], None],
        wrote: Callable[[], None],
        upkeep: Callable[[], bool],
        upkeep_seconds: float,
    ) -> None:
        self.fault = ""
        self.is_foreign = False
        self.is_open = False
        self.may_change = True
        self.asking_since: float | None = None
        self._database = database
        self._backlog = backlog
        self._aside = journals.own_aside()
        self._journals = journals
        self._counts = counts
        self._ready = ready
        self._wrote = wrote
        self._upkeep = upkeep
        self._upkeep_seconds = upkeep_seconds
        self._upkeep_at = 0.0
        self._ping_at = 0.0
        self._retry_at = 0.0
        self._failures = 0
        self._is_checked = False
        self._has_taken_up = False
        self.worker: WorkerThread[None] = WorkerThread(
            "writer",
            self._work,
            max_jobs=1_000_000,
            batch=1_000_000,
            wait_seconds=self._idle_seconds,
            last=self._catch_up,
        )

    def serve(self) -> None:
        """This process takes new calls from now on; called in any thread."""
        if not self.may_change:
            self.may_change = True
            self._retry_at = 0.0
            self.wake()

    def look_soon(self) -> None:
        """Another process is ending: look for its journal soon."""
        self._upkeep_at = min(self._upkeep_at, time.monotonic() + _MOMENT_SECONDS)

    def wake(self) -> None:
        """Look for something to do; called in any thread."""
        if not self.worker.waiting:
            self.worker.offer(None)

    # -- in the thread -----------------------------------------------------------

    def _idle_seconds(self) -> float:
        if self.fault or not self.is_open:
            return 0.2
        return 0.0 if time.monotonic() >= self._upkeep_at else 1.0

    def _work(self, _: list[None]) -> None:
        now = time.monotonic()
        if now >= self._retry_at:
            self._catch_up()
        if self.is_open and not self.fault and now >= self._upkeep_at:
            self._upkeep_at = now + self._upkeep_seconds
            if not self._done_beside(self._take_up):
                return

            def keep_up() -> None:
                if self._upkeep():
                    self._upkeep_at = 0.0

            self._done_beside(keep_up)

    def _catch_up(self) -> None:
        """Write everything that is not in the database yet."""
        try:
            if not self._is_checked:
                self._database.migrate(may_change=self.may_change)
                self._is_checked = True
            if not self._has_taken_up:
                # Those entries are older than the ones in this process's journal.
                self._take_up()
                self._has_taken_up = True
            if self._backlog:
                self._empty()
            elif self.fault or time.monotonic() >= self._ping_at:
                self._ping()
        except DatabaseUnavailable as exc:
            self._is_away(exc)
            return
        except Exception:
            # The worker logs it and continues; the next attempt comes after a pause.
            self._wait_because("a bug; the log has a traceback")
            raise
        if not self.is_open:
            self.is_open = self._done_beside(self._ready)
            if not self.is_open:
                return
        if self.fault:
            self._log.info("the database is available again, and has all records")
        self.fault = ""
        self.is_foreign = False
        self._failures = 0

    def _ping(self) -> None:
        self.asking_since = time.monotonic()
        try:
            self._database.check()
        finally:
            self.asking_since = None
        self._ping_at = time.monotonic() + _PING_SECONDS

    def _empty(self) -> None:
        has_deliveries = False
        while True:
            has_deliveries |= self._read(self._backlog)
            with self._backlog.held() as held:
                if held:
                    has_deliveries |= self._apply(held)
            if not self._backlog:
                break
        self._ping_at = time.monotonic() + _PING_SECONDS
        if has_deliveries:
            self._done_beside(self._wrote)

    def _take_up(self) -> None:
        """Write the entries in journals of processes that are gone."""
        for journal, aside in self._journals.left():
            is_new = bool(journal.waiting)
            if is_new:
                self._log.info(
                    "recovering {bytes} bytes of records of a process that is gone",
                    bytes=journal.waiting,
                )
            self._try_again(aside)
            if self._read(journal):
                self._done_beside(self._wrote)
            try:
                journal.remove()
            except OSError as exc:
                self._log.error("could not remove a journal: {why}", why=str(exc))

    def _read(self, journal: Journal | Backlog) -> bool:
        """
        Write the entries of a journal.

        @return: see L{_apply}.
        """
        has_deliveries = False
        for chunk in journal.chunks():
            if chunk.unreadable:
                self._set_aside(chunk.unreadable, "cannot be read")
            if chunk.entries:
                has_deliveries |= self._apply(chunk.entries)
            journal.forget(chunk.upto)
        return has_deliveries

    def _apply(self, entries: Sequence[Entry]) -> bool:
        """
        Write entries.

        @return: whether some of them are about deliveries.
        """
        try:
            self._database.apply(entries)
            self._counts["written"] += len(entries)
        except Exception as exc:
            if isinstance(exc, DatabaseUnavailable) and not is_refusal(exc):
                raise
            # One of them cannot be written; the others still can.
            for entry in entries:
                if not self._apply_alone(entry):
                    self._aside_entry(entry)
        return any(kind in (DELIVERY, TRIED) for kind, _ in entries)

    def _apply_alone(self, entry: Entry) -> bool:
        """
        Write one entry.

        @return: whether it is in the database.
        """
        try:
            self._database.apply([entry])
        except DatabaseUnavailable as exc:
            if not is_refusal(exc):
                raise
            self._log.error(
                "the database rejects an entry: {kind}: {why}",
                kind=entry[0],
                # The lines after the first one quote the row.
                why=_first_line(exc),
            )
            return False
        except Exception:
            self.worker.note_bug()
            return False
        self._counts["written"] += 1
        return True

    # -- set aside -----------------------------------------------------------------

    def _aside_entry(self, entry: Entry) -> None:
        self._counts["refused"] += 1
        try:
            is_kept = self._aside.add_entry(entry)
        except OSError:
            is_kept = False
        self._counts["lost"] += not is_kept

    def _set_aside(self, lines: Sequence[bytes], why: str) -> None:
        self._counts["refused"] += len(lines)
        try:
            is_kept = self._aside.add(lines)
        except OSError:
            is_kept = False
        if not is_kept:
            self._counts["lost"] += len(lines)
        self._log.error(
            "{count} lines of the journal {why}; they are in {path}",
            count=len(lines),
            why=why,
            path=str(self._aside.path),
        )

    def _try_again(self, aside: Aside) -> None:
        """Retry the lines that were set aside, perhaps by other versions."""
        kept = []
        try:
            for line in aside.lines():
                entry = entry_of(line)
                if entry is None or not self._apply_alone(entry):
                    kept.append(line)
            if kept and not self._aside.add(kept):
                raise OSError("the file of this process is full")
            aside.replace([])
        except OSError as exc:
            self._log.error(
                "could not retry the entries that were set aside: {why}",
                why=str(exc),
            )
            return
        if kept:
            self._log.warn(
                "{count} entries wait in {path} for a newer version of this program",
                count=len(kept),
                path=str(self._aside.path),
            )

    # -- failures ------------------------------------------------------------------

    def _done_beside(self, do: Callable[[], None]) -> bool:
        """
        Do something other than writing entries; a bug in it must not stop the writing.

        @return: whether the database was available.
        """
        try:
            do()
        except DatabaseUnavailable as exc:
            self._is_away(exc)
            return False
        except Exception:
            self.worker.note_bug()
        return True

    def _is_away(self, exc: Exception) -> None:
        why = _first_line(exc) or type(exc).__name__
        is_foreign = isinstance(exc, WrongSchema)
        if not self.fault or is_foreign > self.is_foreign:
            self._log.error(
                "the database is unavailable; records wait on this machine: {why}",
                why=why,
            )
        self.is_foreign = is_foreign
        self._wait_because(why)

    def _wait_because(self, why: str) -> None:
        self.fault = why
        # Check the schema again: it may be another database when it is available.
        self._is_checked = False
        self._failures += 1
        self._retry_at = time.monotonic() + _BACK_OFF.pause(self._failures)


def _first_line(exc: Exception) -> str:
    return str(getattr(exc, "orig", None) or exc).strip().split("\n")[0][:300]
