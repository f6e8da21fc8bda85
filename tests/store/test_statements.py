"""The statements that write entries: what they say, and that each is built once."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Executable
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store.entries import (
    ANSWERED,
    CLOSED,
    DELIVERY,
    OPENED,
    RECORDED,
    TRIED,
    TURN,
)
from chime_gateway.store.statements import Statements

CALL: Final = {"call_id": "c1", "state": "live", "record": {}}
CHANGE: Final = {"call_id": "c1", "answered_at": 1.0}
TURN_ROW: Final = {"call_id": "c1", "number": 1, "turn": {}, "started": 0.5}
DELIVERY_ROW: Final = {"delivery_id": "d1", "state": "pending"}

VALUES: Final[dict[str, dict[str, Any]]] = {
    OPENED: CALL,
    ANSWERED: CHANGE,
    CLOSED: CALL,
    RECORDED: CHANGE,
    TURN: TURN_ROW,
    DELIVERY: DELIVERY_ROW,
    TRIED: DELIVERY_ROW,
}

DIALECTS: Final = (
    (sqlite.insert, sqlite.dialect()),
    (postgresql.insert, postgresql.dialect()),
)


def text_of(statement: Executable, dialect: Any) -> str:
    assert isinstance(statement, ClauseElement)
    return str(statement.compile(dialect=dialect))


class StatementsTests(SynchronousTestCase):
    def test_entries_with_the_same_columns_share_a_statement(self) -> None:
        for insert, _ in DIALECTS:
            statements = Statements(insert)
            for kind, values in VALUES.items():
                first, _ = statements.of(kind, values)
                again, _ = statements.of(kind, {name: None for name in values})
                self.assertIs(first, again, kind)

    def test_an_entry_with_fewer_columns_has_its_own_statement(self) -> None:
        statements = Statements(sqlite.insert)
        all_of_it, _ = statements.of(OPENED, CALL)
        older, parameters = statements.of(OPENED, {"call_id": "c1", "state": "live"})
        self.assertIsNot(all_of_it, older)
        self.assertEqual(parameters, {"call_id": "c1", "state": "live"})
        self.assertNotIn("record", str(older))

    def test_a_statement_names_each_column_that_it_writes(self) -> None:
        for insert, dialect in DIALECTS:
            statements = Statements(insert)
            for kind, values in VALUES.items():
                statement, _ = statements.of(kind, values)
                text = text_of(statement, dialect)
                for name in values:
                    self.assertIn(name, text, kind)

    def test_a_closed_call_replaces_all_but_its_id(self) -> None:
        statement, _ = Statements(sqlite.insert).of(CLOSED, CALL)
        text = text_of(statement, sqlite.dialect())
        _, _, change = text.partition("DO UPDATE SET ")
        self.assertEqual(
            change, "state = excluded.state, record = excluded.record", text
        )

    def test_an_answer_changes_live_calls_only(self) -> None:
        statement, parameters = Statements(sqlite.insert).of(ANSWERED, CHANGE)
        text = text_of(statement, sqlite.dialect())
        self.assertIn("calls.state = ", text)
        self.assertNotIn("SET call_id", text)
        self.assertEqual(sorted(parameters.values(), key=str), [1.0, "c1"])

    def test_the_values_of_an_entry_stay_as_they_are(self) -> None:
        before = dict(CHANGE)
        Statements(sqlite.insert).of(ANSWERED, before)
        self.assertEqual(before, CHANGE)
