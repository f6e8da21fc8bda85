"""Everything that is due is deleted, however much it is, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store.database import Database
from chime_gateway.store.entries import CLOSED, DELIVERY, OPENED
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.retention import retention
from chime_gateway.store.retention.retention import Retention
from tests.support.entries import closed, delivery, opened
from tests.support.files import temporary_folder

DAY = 86_400.0
NOW = 1_795_000_000.0


class RetentionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(retention, "BATCH", 7)
        self.now = 5000.0
        self.patch(time, "monotonic", lambda: self.now)

    def begin(self) -> None:
        self.folder = temporary_folder(self)
        self.database = Database(f"sqlite:///{self.folder}/calls.sqlite", self.folder)
        self.database.migrate()
        self.recordings = self.folder / "recordings"
        self.captures = self.folder / "captures"
        self.captures.mkdir()
        self.retention = Retention(
            self.database,
            2.0,
            path_of=Path,
            recordings=self.recordings,
            captures=self.captures,
            wall_time=lambda: NOW,
        )

    def file(self, path: Path, age_days: float) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (NOW - age_days * DAY,) * 2)
        return path

    def recording(self, name: str, age_days: float) -> Path:
        day = time.strftime("%Y-%m-%d", time.gmtime(NOW - age_days * DAY))
        return self.file(self.recordings / day / f"{name}.wav", age_days)

    def files(self) -> set[Path]:
        return {path for path in self.folder.rglob("*.*") if path.suffix in KINDS}

    @settings(max_examples=6, deadline=None)
    @given(st.data())
    def test_everything_that_is_due_is_deleted_and_nothing_else(
        self, data: Any
    ) -> None:
        self.begin()
        count = st.integers(0, 30)
        entries: list[Any] = []
        stay: set[Path] = set()
        calls = 0
        for age, is_due in ((9.0, True), (2.1, True), (1.9, False), (0.1, False)):
            for number in range(data.draw(count)):
                call_id = f"c{age}-{number}"
                path = self.recording(call_id, age)
                values = {"recording": str(path)}
                row = closed(call_id, NOW - age * DAY, turns=[], **values)
                entries += [(CLOSED, row), (DELIVERY, delivery(call_id, 1))]
                calls += not is_due
                stay |= set() if is_due else {path}
            for number in range(data.draw(count)):
                # Rows and files without a stored call.
                row = delivery(f"x{age}-{number}", 1, created_at=NOW - age * DAY)
                entries.append((DELIVERY, {**row, "state": "delivered"}))
                path = self.file(self.captures / f"x{age}-{number}.jsonl", age)
                stay |= set() if is_due else {path}
                self.database.seen(f"i{age}-{number}", NOW - age * DAY)
        for number in range(data.draw(count)):
            self.recording(f"orphan{number}", 9.0)
            entries.append((OPENED, opened(f"live{number}", NOW - 9 * DAY)))
        live = number + 1 if entries and entries[-1][0] == OPENED else 0
        self.database.apply(entries)
        steps = 0
        before = self.rows()
        while self.retention.step():
            steps += 1
            after = self.rows()
            # A call has two rows; the writer may work after each step of seven calls.
            self.assertLessEqual(before - after, 2 * 7)
            before = after
            self.assertLess(steps, 200)
        found = self.database.calls(CallQuery(limit=1000))
        self.assertEqual(len(found), calls + live)
        self.assertEqual(self.files(), stay)
        for forget in (
            self.database.forget_calls,
            self.database.forget_deliveries,
            self.database.forget_instances,
        ):
            self.assertFalse(forget(NOW - 2 * DAY, 10))
        self.assertFalse(self.retention.step())
        self.database.close()

    def rows(self) -> int:
        from sqlalchemy import text

        with self.database._engine.connect() as connection:
            return sum(
                connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0
                for table in ("calls", "deliveries", "instances")
            )

    def test_it_runs_again_after_an_hour(self) -> None:
        self.begin()
        while self.retention.step():
            pass
        self.database.apply([(CLOSED, closed("a", 0.0))])
        self.assertFalse(self.retention.step())
        self.now += 3601.0
        while self.retention.step():
            pass
        self.assertEqual(self.database.calls(CallQuery()), [])
        self.database.close()

    def test_a_file_that_cannot_be_deleted_does_not_stop_the_rest(self) -> None:
        self.begin()
        (self.recordings / "2020-01-01" / "folder.wav").mkdir(parents=True)
        self.recording("a", 9.0)
        while self.retention.step():
            pass
        self.assertEqual(self.files(), {self.recordings / "2020-01-01" / "folder.wav"})
        self.flushLoggedErrors()
        self.database.close()

    def test_an_unavailable_database_is_tried_again(self) -> None:
        self.begin()
        self.database.apply([(CLOSED, closed(f"c{n}", 0.0)) for n in range(20)])
        real = self.database.forget_calls

        def away(*_: Any) -> Any:
            raise OSError("away")

        self.assertTrue(self.retention.step())
        self.patch(self.database, "forget_calls", away)
        self.assertRaises(OSError, self.retention.step)
        self.patch(self.database, "forget_calls", real)
        while self.retention.step():
            pass
        self.assertEqual(self.database.calls(CallQuery()), [])
        self.database.close()


KINDS = {".wav", ".jsonl"}
