"""Deadlines, with a PostgreSQL server that is stopped by a signal."""

from __future__ import annotations

import shutil
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store import engine
from chime_gateway.store.database import Database, DatabaseUnavailable
from chime_gateway.store.entries import OPENED
from chime_gateway.store.queries import CallQuery
from tests.support import postgres
from tests.support.entries import opened
from tests.support.files import temporary_folder
from tests.support.threads import ThreadTestCase


class SqliteTests(SynchronousTestCase):
    def test_a_writer_excludes_others_from_its_first_statement_on(self) -> None:
        self.patch(engine, "_BUSY_SECONDS", 0.01)
        folder = temporary_folder(self)
        database = Database(f"sqlite:///{folder}/calls.sqlite", folder)
        self.addCleanup(database.close)
        database.migrate()
        with database._writing.begin() as connection:
            connection.execute(text("SELECT 1"))
            self.assertRaises(
                DatabaseUnavailable, database.apply, [(OPENED, opened("a"))]
            )
            self.assertEqual(database.calls(CallQuery()), [])
        database.apply([(OPENED, opened("a"))])

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.sampled_from(("apply", "take away", "replace")), max_size=8))
    def test_accepted_rows_are_in_the_file_of_that_name(self, steps: list[str]) -> None:
        """
        A file is taken away or replaced by an older copy while it is open, and put
        back: what was taken is there, and nothing is taken in between.
        """
        folder = temporary_folder(self)
        path, away = folder / "calls.sqlite", folder / "away"
        database = Database(f"sqlite:///{path}", folder)
        database.migrate()
        database.close()  # there is no log beside it
        shutil.copy(path, folder / "copy")
        taken = []
        for number, step in enumerate(steps):
            if step != "apply":
                if not away.exists():
                    path.rename(away)
                path.unlink(missing_ok=True)
                if step == "replace":
                    shutil.copy(folder / "copy", path)
                row = opened(f"lost{number}")
                self.assertRaises(DatabaseUnavailable, database.apply, [(OPENED, row)])
                self.assertRaises(DatabaseUnavailable, database.calls, CallQuery())
            if away.exists():
                away.rename(path)
            database.apply([(OPENED, opened(f"c{number}"))])
            taken.append(f"c{number}")
        database.close()
        again = Database(f"sqlite:///{path}", folder)
        found = [row.call_id for row in again.calls(CallQuery())]
        again.close()
        self.assertEqual(sorted(found), sorted(taken))

    def test_without_deadlines_the_context_does_nothing(self) -> None:
        folder = temporary_folder(self)
        database = Database(f"sqlite:///{folder}/calls.sqlite", folder)
        self.addCleanup(database.close)
        with (
            database._engine.connect() as connection,
            engine.deadline(connection, 9.0),
        ):
            self.assertEqual(connection.scalar(text("SELECT 1")), 1)


class FrozenTests(ThreadTestCase):
    if postgres.MISSING:
        skip = postgres.MISSING

    def setUp(self) -> None:
        # A separate server: stopping a shared one would block other tests.
        self.server = postgres.Postgres()
        self.addCleanup(self.server.close)
        self.patch(engine, "STATEMENT_SECONDS", 0.5)
        self.patch(engine, "_CONNECT_SECONDS", 2)
        folder = temporary_folder(self)
        self.database = Database(self.server.new_database(), folder)
        self.addCleanup(self.database.close)
        self.database.migrate()

    def test_a_stopped_server_times_out_and_is_used_again_later(self) -> None:
        self.database.apply([(OPENED, opened("a"))])
        self.server.freeze()
        for ask in (
            lambda: self.database.apply([(OPENED, opened("b"))]),
            lambda: self.database.calls(CallQuery()),
        ):
            began = time.monotonic()
            self.assertRaises(DatabaseUnavailable, ask)
            # Without the deadline it would be minutes, or for ever.
            self.assertLess(time.monotonic() - began, 20.0)
        self.server.thaw()

        def is_back() -> Any:
            try:
                self.database.apply([(OPENED, opened("b"))])
            except DatabaseUnavailable:
                return False
            return True

        self.until(is_back)
        ids = sorted(row.call_id for row in self.database.calls(CallQuery()))
        self.assertEqual(ids, ["a", "b"])

    def test_a_statement_that_changes_tables_may_take_longer(self) -> None:
        with self.database._engine.connect() as connection:
            with engine.deadline(connection, 5.0):
                connection.execute(text("SELECT pg_sleep(1)"))
            self.assertRaises(
                DatabaseUnavailable, connection.execute, text("SELECT pg_sleep(1)")
            )
