"""The same tests against SQLite and a real PostgreSQL server."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway import store
from chime_gateway.store import schema
from chime_gateway.store.database import GONE_SECONDS, Database
from chime_gateway.store.entries import (
    ANSWERED,
    CLOSED,
    DELIVERY,
    OPENED,
    RECORDED,
    TRIED,
    TURN,
)
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import Whose
from chime_gateway.store.tables import DELIVERED, METADATA, REVISION
from tests.support import postgres
from tests.support.entries import closed, delivery, opened, turn
from tests.support.files import temporary_folder

ME = Whose("me", "now")


class _Tests:
    """Tests for both databases."""

    database: Database
    assertEqual: Any
    assertIsNone: Any

    def new_url(self) -> str:
        raise NotImplementedError

    def setUp(self) -> None:
        self.folder = temporary_folder(self)  # type: ignore[arg-type]
        self.url = self.new_url()
        self.database = Database(self.url, self.folder)
        self.addCleanup(self.database.close)  # type: ignore[attr-defined]
        self.database.migrate()

    def ids(self, **query: Any) -> list[str]:
        return [row.call_id for row in self.database.calls(CallQuery(**query))]

    def test_the_migrations_create_the_tables_in_use(self) -> None:
        old = Database(self.new_url(), self.folder)
        self.addCleanup(old.close)  # type: ignore[attr-defined]
        with old._engine.begin() as connection:
            schema._upgrade(connection)
        for database in (old, self.database):
            with database._engine.connect() as connection:
                context = MigrationContext.configure(connection)
                self.assertEqual(compare_metadata(context, METADATA), [])
                self.assertEqual(context.get_current_heads(), (REVISION,))

    def test_the_revision_is_that_of_the_newest_migration(self) -> None:
        folder = Path(store.__file__).parent / "migrations"
        self.assertEqual(ScriptDirectory(str(folder)).get_heads(), [REVISION])

    def test_migrating_again_changes_nothing(self) -> None:
        self.database.apply([(OPENED, opened("a"))])
        self.database.migrate()
        self.assertEqual(self.ids(), ["a"])

    def test_a_call_is_one_row_from_its_start_to_its_end(self) -> None:
        self.database.apply([(OPENED, opened("a"))])
        answered = {"call_id": "a", "answered_at": 101.0, "recording": "/r/a.wav"}
        self.database.apply([(ANSWERED, answered), (TURN, turn("a", 1, "Hel"))])
        turns = [turn("a", 1, "Hello"), turn("a", 2, "Bye")]
        self.database.apply([(CLOSED, closed("a", recording="/r/a.wav", turns=turns))])
        call = self.database.call("a")
        assert call is not None
        self.assertEqual((call.row.state, call.row.outcome), ("ended", "completed"))
        self.assertEqual(call.row.answered_at, 101.0)
        self.assertEqual([t["text"] for t in call.transcript], ["Hello", "Bye"])
        self.assertEqual(self.ids(), ["a"])

    def test_entries_applied_again_change_nothing(self) -> None:
        entries = [
            (OPENED, opened("a")),
            (TURN, turn("a", 1, "Hello")),
            (CLOSED, closed("a", turns=[])),
            (DELIVERY, delivery("a", 1)),
            (
                TRIED,
                {"delivery_id": "a.1.crm", "state": DELIVERED, "attempts": 1},
            ),
        ]
        self.database.apply(entries)
        before = self.database.call("a")
        self.database.apply(entries)
        self.assertEqual(self.database.call("a"), before)
        self.assertEqual(self.database.count_deliveries("me"), {"delivered": 1})

    def test_an_end_without_a_start_makes_a_complete_row(self) -> None:
        self.database.apply([(CLOSED, closed("a"))])
        self.assertEqual(self.ids(state="ended"), ["a"])

    def test_all_entries_are_applied_or_none(self) -> None:
        bad = {**opened("b"), "carrier": None}
        with contextlib.suppress(IntegrityError):
            self.database.apply([(OPENED, opened("a")), (OPENED, bad)])
        self.assertEqual(self.ids(), [])

    def test_pages_follow_each_other_newest_first(self) -> None:
        rows = [(CLOSED, closed(f"c{n}", 100.0 + n // 2)) for n in range(7)]
        self.database.apply(rows)
        found: list[str] = []
        before = None
        while True:
            page = self.database.calls(CallQuery(limit=2, before=before))
            if not page:
                break
            found += [row.call_id for row in page]
            before = page[-1].started_at, page[-1].call_id
        self.assertEqual(found, ["c6", "c5", "c4", "c3", "c2", "c1", "c0"])

    def test_calls_are_filtered(self) -> None:
        self.database.apply(
            [
                (CLOSED, closed("a", 100.0)),
                (CLOSED, closed("b", 200.0, agent="sales", outcome="idle")),
                (OPENED, opened("c", 300.0, caller="+4930")),
            ]
        )
        for query, expected in (
            ({"agent": "sales"}, ["b"]),
            ({"outcome": "idle"}, ["b"]),
            ({"state": "live"}, ["c"]),
            ({"caller": "+4930"}, ["c"]),
            ({"since": 200.0}, ["c", "b"]),
            ({"until": 200.0}, ["a"]),
            ({"carrier": "kinesis"}, []),
        ):
            self.assertEqual(self.ids(**query), expected, query)

    def test_any_number_of_turns_is_written_by_one_statement(self) -> None:
        turns = [turn("c1", number, "text") for number in range(1, 600)]
        statements: list[str] = []

        def executed(_: Any, __: Any, statement: str, *___: Any) -> None:
            statements.append(statement)

        event.listen(self.database._engine, "before_cursor_execute", executed)
        self.database.apply([(TURN, each) for each in turns])
        self.database.apply([(CLOSED, closed("c1", turns=turns))])
        written = [each for each in statements if "INTO turns" in each]
        self.assertEqual(len(written), 2)
        call = self.database.call("c1")
        assert call is not None
        self.assertEqual(len(call.transcript), len(turns))

    def test_a_call_that_is_not_there(self) -> None:
        self.assertIsNone(self.database.call("nobody"))

    def test_calls_of_an_earlier_run_are_lost_those_of_this_one_are_not(self) -> None:
        self.database.apply(
            [
                (OPENED, opened("old", 100.0)),
                (OPENED, opened("new", 100.0, generation="now")),
                (CLOSED, closed("done", 100.0)),
            ]
        )
        self.database.seen("me", 301.0)
        lost = self.database.unclosed_calls(ME, 301.0)
        self.assertEqual([row.call_id for row in lost], ["old"])

    def test_calls_of_a_gateway_that_was_not_seen_for_long_are_lost(self) -> None:
        self.database.apply([(OPENED, opened("a", 100.0, instance="other"))])
        self.database.seen("other", 150.0)
        now = 150.0 + GONE_SECONDS
        self.assertEqual(self.database.unclosed_calls(ME, now), [])
        lost = self.database.unclosed_calls(ME, now + 1)
        self.assertEqual([row.call_id for row in lost], ["a"])

    def test_deliveries_of_a_gateway_that_is_gone_are_taken_over(self) -> None:
        self.database.apply([(DELIVERY, delivery("a", 1, instance="other"))])
        self.database.seen("other", 150.0)
        self.assertEqual(self.database.adopt_deliveries(ME, (), 160.0), 0)
        now = 151.0 + GONE_SECONDS
        self.assertEqual(self.database.adopt_deliveries(ME, (), now), 1)
        due = self.database.due_deliveries(ME, {"crm": 10})["crm"]
        self.assertEqual([row.delivery_id for row in due], ["a.1.crm"])

    def test_only_the_first_delivery_of_each_call_and_webhook_is_due(self) -> None:
        self.database.apply(
            [
                (DELIVERY, delivery("a", 2)),
                (DELIVERY, delivery("a", 1)),
                (DELIVERY, delivery("a", 1, "erp")),
                (DELIVERY, delivery("b", 1)),
            ]
        )

        def due(**wanted: int) -> list[str]:
            found = self.database.due_deliveries(Whose("me"), wanted)
            return sorted(row.delivery_id for rows in found.values() for row in rows)

        self.assertEqual(due(crm=10, erp=10), ["a.1.crm", "a.1.erp", "b.1.crm"])
        self.assertEqual(len(due(crm=1, erp=10)), 2)
        # A webhook with limit 0 is left out; an unknown one is not.
        self.assertEqual(due(crm=0), ["a.1.erp"])
        done = {"delivery_id": "a.1.crm", "state": DELIVERED, "attempts": 1}
        self.database.apply([(TRIED, done)])
        self.assertEqual(due(crm=10, erp=0), ["a.2.crm", "b.1.crm"])

    def test_a_delivery_that_is_not_due_holds_back_later_ones_of_its_call(self) -> None:
        self.database.apply(
            [
                (DELIVERY, delivery("a", 1, next_try_at=500.0)),
                (DELIVERY, delivery("a", 2)),
                (DELIVERY, delivery("b", 1, created_at=600.0)),
            ]
        )
        due = self.database.due_deliveries(Whose("me"), {"crm": 10})["crm"]
        self.assertEqual([row.delivery_id for row in due], ["a.1.crm", "b.1.crm"])

    def test_finished_deliveries_without_a_call_are_deleted(self) -> None:
        rows = [delivery(f"c{n}", 1, created_at=100.0) for n in range(3)]
        rows[1]["state"] = DELIVERED
        rows[2]["created_at"], rows[2]["state"] = 900.0, DELIVERED
        self.database.apply([(DELIVERY, row) for row in rows])
        self.assertEqual(self.database.forget_deliveries(500.0, 10), 1)
        self.assertEqual(
            self.database.count_deliveries("me"), {"pending": 1, "delivered": 1}
        )

    def test_old_calls_are_deleted_with_their_turns_and_deliveries(self) -> None:
        self.database.apply(
            [
                (CLOSED, closed("old", 100.0, turns=[turn("old", 1, "x")])),
                (DELIVERY, delivery("old", 1)),
                (OPENED, opened("live", 100.0)),
                (CLOSED, closed("new", 900.0)),
                (RECORDED, {"call_id": "old", "recording": "/r/old.wav"}),
            ]
        )
        self.database.seen("gone", 100.0)
        self.assertEqual(self.database.forget_calls(500.0, 10), ["/r/old.wav"])
        self.assertEqual(self.database.forget_calls(500.0, 10), [])
        self.assertEqual(self.database.forget_instances(500.0, 10), 1)
        self.assertEqual(self.ids(), ["new", "live"])
        self.assertEqual(self.database.count_deliveries("me"), {})


class SqliteTests(_Tests, SynchronousTestCase):
    def new_url(self) -> str:
        count = len(list(self.folder.glob("*.sqlite")))
        return f"sqlite:///{self.folder / f'calls{count}.sqlite'}"


class PostgresTests(_Tests, SynchronousTestCase):
    if postgres.MISSING:
        skip = postgres.MISSING

    def new_url(self) -> str:
        return postgres.server().new_database()
