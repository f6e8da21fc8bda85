"""
The statements that write entries, each built once.

SQLAlchemy takes longer to build a statement than SQLite takes to run it, and the
reactor waits for the interpreter lock meanwhile.  A statement depends only on the kind
of the entry and on the names of its columns, which the journal of another version may
have fewer of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Executable, Table, bindparam, update

from chime_gateway.store.entries import (
    ANSWERED,
    CLOSED,
    DELIVERY,
    OPENED,
    RECORDED,
    TRIED,
    TURN,
)
from chime_gateway.store.tables import CALLS, DELIVERIES, LIVE, TURNS

#: The parameter of the key in an update.  Its name must not be that of a column.
_KEY: Final = "key_of_row"

_TABLES: Final[Mapping[str, Table]] = {
    OPENED: CALLS,
    ANSWERED: CALLS,
    CLOSED: CALLS,
    RECORDED: CALLS,
    TURN: TURNS,
    DELIVERY: DELIVERIES,
    TRIED: DELIVERIES,
}

_UPDATES: Final = frozenset((ANSWERED, RECORDED, TRIED))


class Statements:
    """
    @param insert: the dialect's C{insert}, which knows conflicts.
    """

    def __init__(self, insert: Callable[[Table], Any]) -> None:
        self._insert = insert
        self._built: dict[tuple[str, tuple[str, ...]], Executable] = {}

    def of(
        self, kind: str, values: Mapping[str, Any]
    ) -> tuple[Executable, dict[str, Any]]:
        """
        @param values: the columns of one entry of that kind.
        @return: the statement that writes it, and its parameters.
        """
        parameters = dict(values)
        if kind in _UPDATES:
            parameters[_KEY] = parameters.pop(_key(kind))
        names = tuple(values)
        statement = self._built.get((kind, names))
        if statement is None:
            statement = self._built[kind, names] = self._build(kind, names)
        return statement, parameters

    def _build(self, kind: str, names: tuple[str, ...]) -> Executable:
        table = _TABLES[kind]
        if kind in _UPDATES:
            changed = update(table).where(table.c[_key(kind)] == bindparam(_KEY))
            if kind == ANSWERED:
                changed = changed.where(table.c.state == LIVE)
            rest = [name for name in names if name != _key(kind)]
            return changed.values({name: bindparam(name) for name in rest})
        insert = self._insert(table)
        insert = insert.values({name: bindparam(name) for name in names})
        if kind in (OPENED, DELIVERY):
            return insert.on_conflict_do_nothing()  # type: ignore[no-any-return]
        keys = [column.name for column in table.primary_key]
        rest = [name for name in names if name not in keys]
        if kind == TURN:
            rest = ["turn", "started"]
        return insert.on_conflict_do_update(  # type: ignore[no-any-return]
            index_elements=keys, set_={name: insert.excluded[name] for name in rest}
        )


def _key(kind: str) -> str:
    """The name of the column that identifies a row."""
    (column,) = _TABLES[kind].primary_key
    return column.name
