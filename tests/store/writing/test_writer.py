from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError, OperationalError
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store import engine
from chime_gateway.store.database import Database
from chime_gateway.store.entries import CLOSED, DELIVERY, OPENED, Entry
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.writing.journal import Journal
from chime_gateway.store.writing.journals import Journals
from chime_gateway.store.writing.writer import Writer
from tests.support.entries import closed, delivery, opened
from tests.support.files import temporary_folder
from tests.support.threads import ThreadTestCase


class FakeDatabase:
    """A fake database that accepts entries unless it is unavailable."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_away = False
        self.refuses = ""
        self.breaks = ""
        self.migrations = 0

    def migrate(self, **_: bool) -> None:
        self._answer()
        self.migrations += 1

    def check(self) -> None:
        self._answer()

    def apply(self, entries: Any) -> None:
        self._answer()
        if any(values.get("call_id") == self.refuses for _, values in entries):
            raise IntegrityError("insert", {}, ValueError("refused"))
        if any(values.get("call_id") == self.breaks for _, values in entries):
            raise KeyError("a bug")
        self.entries += [tuple(entry) for entry in entries]

    def _answer(self) -> None:
        if self.is_away:
            raise OperationalError("connect", {}, ConnectionError("it is away"))

    def ids(self) -> list[str]:
        return [values["call_id"] for _, values in self.entries]


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


class WriterTests(ThreadTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        self.database = FakeDatabase()
        self.calls: list[str] = []
        self.writer = self.new_writer()

    def new_writer(self) -> Writer:
        journals = Journals(self.folder, "me:8080", "now")
        self.journal = journals.open_own(is_alone=True, now=0.0, wall_now=0.0)
        database: Any = self.database
        writer = Writer(
            database,
            self.journal,
            journals,
            ready=lambda: self.calls.append("ready"),
            wrote=lambda: self.calls.append("wrote"),
        )
        self.addCleanup(self.journal.close)
        return writer

    def start(self) -> None:
        self.writer.start()
        self.addCleanup(self.writer.stop, 5.0)

    def test_entries_come_into_the_database_in_their_order(self) -> None:
        self.start()
        for number in range(500):
            self.writer.put((OPENED, {"call_id": str(number)}))
        self.until(lambda: len(self.database.entries) == 500)
        self.assertEqual(self.database.ids(), [str(n) for n in range(500)])
        self.until(lambda: self.writer.backlog_bytes == 0)

    def test_entries_of_an_earlier_run_come_first(self) -> None:
        self.journal.append([(OPENED, {"call_id": "left"})])
        self.start()
        self.writer.put((OPENED, {"call_id": "new"}))
        self.until(lambda: "new" in self.database.ids())
        # The new entry may be in the journal before the old one is read.
        self.assertEqual(self.database.ids(), ["left", "new"])
        self.assertEqual(self.calls, ["ready"])

    def test_entries_wait_on_disk_while_the_database_is_unavailable(
        self,
    ) -> None:
        self.database.is_away = True
        self.start()
        self.writer.put((OPENED, {"call_id": "a"}))
        self.until(lambda: self.writer.fault)
        self.assertIn("it is away", self.writer.fault)
        self.writer.put((OPENED, {"call_id": "b"}))
        self.until(lambda: b'"b"' in self.journal._path.read_bytes())
        self.assertEqual(self.calls, [])
        self.database.is_away = False
        self.until(lambda: self.database.ids() == ["a", "b"])
        self.until(lambda: not self.writer.fault)
        self.assertEqual(self.calls, ["ready"])
        self.assertEqual(self.writer.backlog_bytes, 0)
        self.flushLoggedErrors()

    def test_an_entry_that_is_rejected_does_not_block_the_others(self) -> None:
        self.database.refuses = "bad"
        self.start()
        for call_id in ("a", "bad", "b"):
            self.writer.put((OPENED, {"call_id": call_id}))
        self.until(lambda: self.writer.counts["refused"] == 1)
        self.until(lambda: self.database.ids() == ["a", "b"])
        self.assertEqual(self.writer.fault, "")

    def test_a_journal_that_cannot_be_written_does_not_block_entries(self) -> None:
        self.patch(self.journal, "append", full)
        self.start()
        self.writer.put((OPENED, {"call_id": "a"}))
        self.until(lambda: self.database.ids() == ["a"])
        self.assertEqual(self.writer.counts["not_journaled"], 1)

    def test_without_disk_and_database_entries_wait_in_memory(self) -> None:
        real = self.journal.append
        self.database.is_away = True

        self.patch(self.journal, "append", full)
        self.start()
        self.writer.put((OPENED, {"call_id": "a"}))
        self.until(lambda: self.writer.counts["not_journaled"] == 1)
        self.patch(self.journal, "append", real)
        self.writer.put((OPENED, {"call_id": "b"}))
        self.until(lambda: self.writer.backlog_bytes > 0)
        self.database.is_away = False
        self.until(lambda: self.database.ids() == ["a", "b"])
        self.assertEqual(self.writer.counts["lost"], 0)

    def test_entries_about_deliveries_wake_the_webhooks(self) -> None:
        self.start()
        self.writer.put((DELIVERY, {"call_id": "a"}))
        self.until(lambda: "wrote" in self.calls)

    def test_stopping_writes_all_waiting_entries(self) -> None:
        self.writer.start()
        for number in range(50):
            self.writer.put((OPENED, {"call_id": str(number)}))
        self.writer.stop(5.0)
        self.assertEqual(len(self.database.entries), 50)

    def test_stopping_does_not_wait_for_an_unavailable_database(self) -> None:
        self.database.is_away = True
        self.writer.start()
        self.writer.put((OPENED, {"call_id": "a"}))
        self.writer.stop(5.0)
        self.database.is_away = False
        self.writer = self.new_writer()
        self.start()
        self.until(lambda: self.database.ids() == ["a"])

    def test_a_hurried_stop_leaves_hanging_entries_in_the_journal(self) -> None:
        """The request to hurry comes before the stop, or during it."""
        answer = threading.Event()
        self.addCleanup(answer.set)
        asked = threading.Event()

        def hang() -> None:
            asked.set()
            answer.wait()
            raise OperationalError("connect", {}, ConnectionError("it is away"))

        self.patch(self.database, "_answer", hang)
        hanging: list[Any] = []
        for is_told_before in (True, False):
            self.journal.close()
            self.writer = self.new_writer()
            hanging += self.writer.workers
            self.writer.start()
            self.writer.put((OPENED, {"call_id": "a"}))
            self.until(lambda: self.writer.backlog_bytes and asked.is_set())
            stopping = threading.Thread(target=self.writer.stop, args=(600.0,))
            if is_told_before:
                self.writer.hurry()
                stopping.start()
            else:
                stopping.start()
                self.writer.hurry()
            stopping.join(20.0)
            self.assertFalse(stopping.is_alive())
            self.assertGreater(self.writer.backlog_bytes, 0)
        answer.set()
        self.until(lambda: not any(worker.is_alive for worker in hanging))

    def test_entries_lost_at_the_end_are_reported(self) -> None:
        self.database.is_away = True
        self.patch(self.journal, "append", full)
        self.writer.start()
        for number in range(3):
            self.writer.put((OPENED, {"call_id": str(number)}))
        with capturedLogs() as events:
            self.writer.stop(5.0)
        (lost,) = [formatEvent(e) for e in events if "at exit" in formatEvent(e)]
        self.assertIn("3 records are lost", lost)
        self.assertIn("No space left", lost)
        self.assertEqual(self.writer.counts["lost"], 3)

    def test_an_unavailable_database_is_tried_with_growing_pauses(self) -> None:
        pauses = []
        self.patch(time, "monotonic", lambda: 0.0)
        self.database.is_away = True
        applying = self.writer._applying
        for _ in range(6):
            applying._retry_at = 0.0
            applying._work([])
            pauses.append(applying._retry_at)
        self.assertEqual(pauses, [0.5, 1, 2, 4, 5, 5])
        self.database.is_away = False
        applying._retry_at = 0.0
        applying._work([])
        self.database.is_away = True
        self.journal.append([(OPENED, {"call_id": "a"})])
        applying._work([])
        self.assertEqual(applying._retry_at, 0.5)

    def test_threads_and_metrics_have_the_same_names(self) -> None:
        self.start()
        names = [thread.name for thread in threading.enumerate()]
        self.assertLessEqual({"chimegw-journal", "chimegw-writer"}, set(names))
        workers = [worker.name for worker in self.writer.workers]
        self.assertEqual(workers, ["journal", "writer"])

    # -- bugs ----------------------------------------------------------------------

    def test_an_entry_that_meets_a_bug_does_not_end_the_writing(self) -> None:
        self.database.breaks = "bad"
        self.start()
        for call_id in ("a", "bad", "b"):
            self.writer.put((OPENED, {"call_id": call_id}))
        self.until(lambda: self.database.ids() == ["a", "b"])
        self.writer.put((OPENED, {"call_id": "c"}))
        self.until(lambda: self.database.ids() == ["a", "b", "c"])
        self.until(lambda: self.writer.backlog_bytes == 0)
        self.assertEqual(self.writer.counts["refused"], 1)
        self.assertEqual(self.writer.fault, "")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_an_entry_that_is_not_json_does_not_block_the_others(self) -> None:
        self.start()
        self.writer.put((OPENED, {"call_id": "bad", "record": object()}))
        self.writer.put((OPENED, {"call_id": "a"}))
        self.until(lambda: self.database.ids() == ["a"])
        self.assertEqual(self.writer.counts["refused"], 1)

    def test_a_bug_in_the_upkeep_leaves_the_store_open(self) -> None:
        def broken(**_: bool) -> None:
            raise KeyError("a bug")

        for name in ("_ready", "_wrote", "_upkeep"):
            self.patch(self.writer._applying, name, broken)
        self.start()
        self.writer.put((DELIVERY, {"call_id": "a"}))
        self.until(lambda: self.writer.is_open)
        self.writer.put((DELIVERY, {"call_id": "b"}))
        self.until(lambda: self.database.ids() == ["a", "b"])
        self.until(lambda: self.writer.backlog_bytes == 0)
        self.assertEqual(self.writer.fault, "")
        # Its work after the entries may still be in progress.
        self.writer.stop(5.0)
        self.assertGreater(len(self.flushLoggedErrors(KeyError)), 1)

    def test_creating_tables_is_repeated_after_a_pause(self) -> None:
        def broken(**_: bool) -> None:
            raise KeyError("a bug")

        self.patch(self.database, "migrate", broken)
        self.start()
        self.writer.put((OPENED, {"call_id": "a"}))
        self.until(lambda: self.writer.fault)
        for _ in range(20):
            self.writer.put((OPENED, {"call_id": "b"}))
            self.until(lambda: not self.writer.worker.waiting)
        self.assertLess(sum(worker.bugs for worker in self.writer.workers), 5)
        self.writer.stop(5.0)
        self.flushLoggedErrors(KeyError)

    def test_a_blocked_thread_does_not_fill_the_memory(self) -> None:
        for number in range(60_000):  # the thread does not run
            self.writer.put((OPENED, {"call_id": str(number)}))
        self.assertEqual(self.writer.counts["lost"], 10_000)
        self.start()
        self.until(lambda: len(self.database.entries) == 50_000)


class LockedTests(ThreadTestCase):
    """A real SQLite file that another connection has locked."""

    def test_records_wait_while_the_database_is_locked(self) -> None:
        import sqlite3

        folder = temporary_folder(self)
        path = folder / "calls.sqlite"
        database = Database(f"sqlite:///{path}", folder)
        database.migrate()
        self.patch(engine, "_BUSY_SECONDS", 0.05)
        database = Database(f"sqlite:///{path}", folder)
        writer = Writer(
            database,
            Journal(folder / "journal.jsonl"),
            Journals(folder, "me", "now"),
        )
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        self.addCleanup(other.close)
        writer.start()
        writer.put((OPENED, opened("a")))
        writer.put((CLOSED, closed("a", turns=[])))
        writer.put((DELIVERY, delivery("a", 1)))
        self.until(lambda: writer.fault)
        self.assertIn("locked", writer.fault)
        other.execute("ROLLBACK")
        writer.stop(10.0)
        (row,) = database.calls(CallQuery())
        self.assertEqual((row.call_id, row.state), ("a", "ended"))
        database.close()


class FullTests(ThreadTestCase):
    """A real SQLite file that may not grow."""

    def test_records_wait_while_the_database_is_full(self) -> None:
        from sqlalchemy import event

        folder = temporary_folder(self)
        database = Database(f"sqlite:///{folder}/calls.sqlite", folder)
        self.addCleanup(database.close)
        database.migrate()
        pages = [30]

        @event.listens_for(database._engine, "begin")
        def limited(connection: Any) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}")

        writer = Writer(
            database,
            Journal(folder / "journal.jsonl"),
            Journals(folder, "me", "now"),
        )
        writer.start()
        for number in range(50):
            row = opened(f"c{number}", record={"padding": "x" * 5000})
            writer.put((OPENED, row))
        self.until(lambda: writer.fault)
        self.assertIn("full", writer.fault)
        pages[0] = 1_000_000
        writer.stop(15.0)
        self.assertEqual(len(database.calls(CallQuery(limit=100))), 50)


class SpaceTests(SynchronousTestCase):
    if not Path("/dev/full").exists():
        skip = "there is no /dev/full here"

    def test_a_full_disk_is_not_counted_as_a_bug(self) -> None:
        folder = temporary_folder(self)
        os.symlink("/dev/full", folder / "journal.jsonl")
        database: Any = FakeDatabase()
        writer = Writer(
            database,
            Journal(folder / "journal.jsonl"),
            Journals(folder, "me", "now"),
        )
        writer.start()
        writer.put((OPENED, {"call_id": "a"}))
        writer.stop(5.0)
        self.assertEqual(database.ids(), ["a"])
