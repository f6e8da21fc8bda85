"""Whatever a database contains, a program only writes to its own schema."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, text
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store.database import Database, DatabaseUnavailable
from chime_gateway.store.entries import OPENED
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import Whose
from chime_gateway.store.schema import SchemaChanges, WrongSchema
from chime_gateway.store.tables import METADATA, REVISION
from tests.support import postgres
from tests.support.entries import opened
from tests.support.files import temporary_folder

#: Rows of Alembic's table; C{None}: the table is missing.
VERSIONS = st.one_of(
    st.none(),
    st.lists(
        st.sampled_from((REVISION, "0009", "", "ae1027a6acf")), unique=True, max_size=2
    ),
)

#: Changes that were made to the tables.
CHANGES = (
    "DROP TABLE turns",
    "DROP TABLE calls",
    "ALTER TABLE calls ADD COLUMN tenant TEXT",
    "ALTER TABLE calls DROP COLUMN reason",
    "ALTER TABLE calls RENAME COLUMN outcome TO verdict",
    "DELETE FROM instances",
)


class SchemaTests(SynchronousTestCase):
    def new_database(self) -> Database:
        folder = temporary_folder(self)
        database = Database(f"sqlite:///{folder}/calls.sqlite", folder)
        self.addCleanup(database.close)
        return database

    def change(self, database: Database, *statements: str) -> None:
        with database._engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def versions(self, database: Database, rows: list[str] | None) -> None:
        self.change(database, "DROP TABLE alembic_version")
        if rows is not None:
            self.change(
                database,
                "CREATE TABLE alembic_version (version_num TEXT)",
                *(f"INSERT INTO alembic_version VALUES ('{row}')" for row in rows),
            )

    def seen(self, database: Database) -> Any:
        with database._engine.connect() as connection:
            found = inspect(connection)
            return {
                name: [column["name"] for column in found.get_columns(name)]
                for name in found.get_table_names()
            }

    @settings(max_examples=25, deadline=None)
    @given(VERSIONS, st.lists(st.sampled_from(CHANGES), unique=True, max_size=2))
    def test_tables_are_upgraded_or_left_alone(
        self, rows: list[str] | None, changes: list[str]
    ) -> None:
        database = self.new_database()
        database.migrate()
        for change in changes:
            try:
                self.change(database, change)
            except DatabaseUnavailable:
                return  # two that exclude each other
        self.versions(database, rows)
        before = self.seen(database)
        is_known = rows is None or rows in ([], [REVISION])
        missing = {
            name
            for name, table in METADATA.tables.items()
            if name in before and {c.name for c in table.columns} - set(before[name])
        }
        if is_known and not missing:
            database.migrate()
            database.apply([(OPENED, opened("a"))])
            self.assertEqual(len(database.calls(CallQuery())), 1)
            return
        exc = self.assertRaises(WrongSchema, database.migrate)
        self.assertIn(REVISION, str(exc))
        self.assertNotIn("\n", str(exc))
        for row in [] if is_known else rows or ():
            self.assertIn(row, str(exc))
        self.assertEqual(self.seen(database), before)
        if not is_known:
            # A running program notices it, too.
            self.assertRaises(WrongSchema, database.apply, [(OPENED, opened("a"))])
            self.assertRaises(WrongSchema, database.check)
            self.assertRaises(WrongSchema, database.seen, "me", 1.0)
            self.assertRaises(
                WrongSchema, database.adopt_deliveries, Whose("me", "now"), (), 1e9
            )
            self.assertRaises(WrongSchema, database.forget_calls, 1e9, 10)
            self.assertRaises(WrongSchema, database.forget_deliveries, 1e9, 10)
            self.assertRaises(WrongSchema, database.forget_instances, 1e9, 10)

    def test_tables_that_a_crash_left_incomplete_are_completed(self) -> None:
        database = self.new_database()
        self.change(database, "CREATE TABLE other (a TEXT)")
        METADATA.tables["calls"].create(database._engine)
        database.migrate()
        database.apply([(OPENED, opened("a"))])
        self.assertIn("other", self.seen(database))

    def test_creating_tables_is_atomic_in_sqlite_too(self) -> None:
        database = self.new_database()
        self.change(database, "CREATE TABLE deliveries (a TEXT)")
        self.assertRaises(WrongSchema, database.migrate)
        self.assertEqual(list(self.seen(database)), ["deliveries"])

    def test_instances_on_one_machine_do_not_wait_for_ever(self) -> None:
        import fcntl

        from chime_gateway.store import schema

        self.patch(schema, "_LOCK_SECONDS", 0.05)
        database = self.new_database()
        with open(database._folder / "migrate.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertRaises(SchemaChanges, database.migrate)
        database.migrate()


class PostgresSchemaTests(SynchronousTestCase):
    if postgres.MISSING:
        skip = postgres.MISSING

    def test_no_rows_are_written_while_a_newer_program_changes_the_tables(self) -> None:
        database = Database(
            postgres.server().new_database(), folder := temporary_folder(self)
        )
        self.addCleanup(database.close)
        database.migrate()
        newer = Database(str(database._url), folder)
        self.addCleanup(newer.close)
        entry = (OPENED, opened("a"))
        with newer._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(426953502053)"))
            connection.execute(text("UPDATE alembic_version SET version_num = '0009'"))
            self.assertRaises(SchemaChanges, database.apply, [entry])
        self.assertRaises(WrongSchema, database.apply, [entry])
        self.assertEqual(database.calls(CallQuery()), [])


#: Reads in a separate process, like C{chimegw calls}.
READ = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(*(row[0] for row in connection.execute("SELECT call_id FROM calls")))
connection.close()
"""


class OtherProcessTests(SynchronousTestCase):
    """
    A process loses its locks on a file when it closes any descriptor of it (fcntl(2)).
    So the program must not open SQLite's file itself: a reader in another process would
    assume that it is the last one, and remove what was written.
    """

    @settings(max_examples=4, deadline=None)
    @given(st.permutations(["migrate", "read", "write", "migrate", "read", "write"]))
    def test_written_rows_are_visible_to_all_processes(self, steps: list[str]) -> None:
        folder = temporary_folder(self)
        path = folder / "chimegw.sqlite"
        database = Database(f"sqlite:///{path}", folder)
        database.migrate()
        written = 0
        for step in ["write", *steps, "read"]:
            if step == "migrate":
                database.migrate()
            elif step == "write":
                database.apply([(OPENED, opened(f"c{written}"))])
                written += 1
            else:
                seen = subprocess.run(
                    [sys.executable, "-I", "-S", "-c", READ, str(path)],
                    capture_output=True,
                    check=True,
                    text=True,
                ).stdout.split()
                self.assertEqual(sorted(seen), [f"c{n}" for n in range(written)])
        database.close()

    def test_an_existing_database_becomes_private(
        self,
    ) -> None:
        folder = temporary_folder(self)
        path = folder / "chimegw.sqlite"
        self.addCleanup(os.umask, os.umask(0o022))
        early = sqlite3.connect(path)
        early.execute("PRAGMA journal_mode=WAL")
        early.execute("CREATE TABLE early (x)")
        early.commit()
        database = Database(f"sqlite:///{path}", folder)
        with contextlib.suppress(*DatabaseUnavailable, WrongSchema):
            database.migrate()
        modes = {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}
        self.assertEqual({**modes, "chimegw.sqlite-wal": 0o600}, modes)
        self.assertEqual({*modes.values()}, {0o600})
        early.close()
        database.close()
