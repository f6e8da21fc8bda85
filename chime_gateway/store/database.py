"""
The database: SQLite, or PostgreSQL for several instances.

All functions block, and are called in threads.  Entries may be applied more than once,
for instance after a crash; the result is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    func,
    make_url,
    or_,
    select,
    update,
)
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chime_gateway.errors import ConfigError
from chime_gateway.store.engine import new_engine, writing
from chime_gateway.store.entries import CLOSED, DELIVERY, TURN, Entry
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.retention.rows import (
    forget_calls,
    forget_deliveries,
    forget_instances,
)
from chime_gateway.store.rows import CallRow, DeliveryRow, StoredCall, Whose
from chime_gateway.store.schema import (
    SchemaChanges,
    WrongSchema,
    bring_up_to_date,
    check,
)
from chime_gateway.store.statements import Statements
from chime_gateway.store.tables import (
    CALLS,
    DELIVERIES,
    INSTANCES,
    LIVE,
    PENDING,
    TURNS,
)
from chime_gateway.store.webhooks.waiting import due_deliveries

#: An instance that was not seen for this time is gone, and its calls are lost.
GONE_SECONDS: Final = 600.0

#: Exceptions of a database that is unavailable, locked, full or of another schema.
DatabaseUnavailable: Final = (
    DBAPIError,
    PoolTimeout,
    OSError,
    WrongSchema,
    SchemaChanges,
)


def is_refusal(exc: Exception) -> bool:
    """Whether the database will never accept this entry, but may accept others."""
    if isinstance(exc, (IntegrityError, DataError)):
        return True
    # The driver itself rejected a value, without asking the server.
    return (
        isinstance(exc, (ProgrammingError, InterfaceError))
        and not exc.connection_invalidated
        and getattr(exc.orig, "sqlstate", None) is None
    )


class Database:
    """
    The tables, and the statements that write and read them.

    @param folder: the state folder, which instances on this machine may share.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder
        try:
            self._url: URL = make_url(url)
            self._engine = new_engine(self._url)
        except (ArgumentError, ImportError, ValueError) as exc:
            name = getattr(exc, "name", "")
            hint = " (install chime-gateway[postgresql])" if name == "psycopg" else ""
            raise ConfigError(f"CHIMEGW_DATABASE_URL: {exc}{hint}") from exc
        self._writing = writing(self._engine)
        # The engine has imported this dialect; the other one is large and not needed.
        dialect = import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        self._insert: Any = dialect.insert
        self._statements = Statements(dialect.insert)

    def close(self) -> None:
        self._engine.dispose()

    # -- the tables --------------------------------------------------------------

    def migrate(self, *, may_change: bool = True) -> None:
        """
        Create the tables, or upgrade them.

        @param may_change: as of L{bring_up_to_date}.
        @raise DatabaseUnavailable: it cannot be used now.
        """
        bring_up_to_date(self._engine, self._folder, may_change=may_change)

    def check(self) -> None:
        """
        Check that the database answers and that its tables are up to date.

        @raise DatabaseUnavailable: it does not, or they are not.
        """
        with self._engine.connect() as connection:
            check(connection)

    # -- writing -----------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin a transaction that writes, if the tables have this program's schema."""
        with self._writing.begin() as connection:
            check(connection)
            yield connection

    def apply(self, entries: Sequence[Entry]) -> None:
        """
        Write all entries, or none.

        @raise DatabaseUnavailable: it cannot be used now.
        """
        with self._transaction() as connection:
            # There are many turns: those with the same columns are written together.
            for (kind, _), group in groupby(entries, key=lambda e: (e[0], [*e[1]])):
                rows = [values for _, values in group]
                if kind == TURN:
                    self._turns(connection, rows)
                    continue
                for values in rows:
                    self._apply(connection, kind, values)

    def _apply(
        self, connection: Connection, kind: str, values: Mapping[str, Any]
    ) -> None:
        if kind == CLOSED:
            values = dict(values)
            if turns := values.pop("turns", ()):
                self._turns(connection, turns)
        connection.execute(*self._statements.of(kind, values))

    def _turns(self, connection: Connection, rows: Sequence[dict[str, object]]) -> None:
        """Write them by one statement: one for each would hold the GIL for longer."""
        statement, _ = self._statements.of(TURN, rows[0])
        connection.execute(statement, rows)

    # -- the fleet ---------------------------------------------------------------

    def seen(self, instance: str, now: float) -> None:
        """Note that this gateway is alive."""
        insert = self._insert(INSTANCES).values(instance=instance, seen_at=now)
        with self._transaction() as connection:
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["instance"], set_={"seen_at": now}
                )
            )

    def unclosed_calls(self, whose: Whose, now: float) -> list[CallRow]:
        """
        Return calls that may have been lost: those of other processes of this gateway,
        and of gateways that have not been seen for long.
        """
        abandoned = and_(
            CALLS.c.instance != whose.instance,
            CALLS.c.instance.not_in(_alive(now)),
            CALLS.c.started_at < now - GONE_SECONDS,
        )
        query = select(CALLS).where(
            CALLS.c.state == LIVE, or_(_of_kin(CALLS, whose), abandoned)
        )
        with self._engine.connect() as connection:
            return [CallRow(**row._mapping) for row in connection.execute(query)]

    def close_lost(self, values: dict[str, object], told: Sequence[Entry]) -> bool:
        """
        Close a call, unless another process has closed it meanwhile.

        @param values: its row.
        @param told: the deliveries of its end.
        @return: whether this process has closed it.
        """
        is_open = and_(CALLS.c.call_id == values["call_id"], CALLS.c.state == LIVE)
        with self._transaction() as connection:
            closed = connection.execute(update(CALLS).where(is_open).values(values))
            if closed.rowcount:
                for _, delivery in told:
                    self._apply(connection, DELIVERY, delivery)
            return bool(closed.rowcount)

    def others_deliveries(self, whose: Whose) -> set[str]:
        """Return the other generations of this gateway with pending deliveries."""
        table = DELIVERIES
        query = select(table.c.generation).where(
            table.c.state == PENDING, _of_kin(table, whose)
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(query.distinct()))

    def adopt_deliveries(self, whose: Whose, gone: Collection[str], now: float) -> int:
        """
        Take over pending deliveries of processes and gateways that are gone.

        @param gone: generations of this gateway that are gone.
        @return: how many deliveries.
        """
        table = DELIVERIES
        of_kin = and_(_of_kin(table, whose), table.c.generation.in_(gone))
        abandoned = and_(
            table.c.instance != whose.instance, table.c.instance.not_in(_alive(now))
        )
        query = (
            update(table)
            .where(table.c.state == PENDING, or_(of_kin, abandoned))
            .values(instance=whose.instance, generation=whose.generation)
        )
        with self._transaction() as connection:
            return int(connection.execute(query).rowcount)

    # -- deliveries --------------------------------------------------------------

    def due_deliveries(
        self, whose: Whose, wanted: Mapping[str, int]
    ) -> dict[str, list[DeliveryRow]]:
        """See L{due_deliveries}."""
        with self._engine.connect() as connection:
            return due_deliveries(connection, whose, wanted)

    def count_deliveries(self, instance: str) -> dict[str, int]:
        """Return the number of deliveries by state."""
        query = (
            select(DELIVERIES.c.state, func.count())
            .where(DELIVERIES.c.instance == instance)
            .group_by(DELIVERIES.c.state)
        )
        with self._engine.connect() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}

    # -- reading -----------------------------------------------------------------

    def calls(self, query: CallQuery) -> list[CallRow]:
        """Return rows of calls, newest first."""
        table = CALLS
        wanted = select(table).order_by(
            table.c.started_at.desc(), table.c.call_id.desc()
        )
        for name in (
            *("state", "carrier", "direction", "agent"),
            *("outcome", "caller", "called"),
        ):
            value = getattr(query, name)
            if value:
                wanted = wanted.where(table.c[name] == value)
        if query.since is not None:
            wanted = wanted.where(table.c.started_at >= query.since)
        if query.until is not None:
            wanted = wanted.where(table.c.started_at < query.until)
        if query.before is not None:
            at, call_id = query.before
            wanted = wanted.where(
                or_(
                    table.c.started_at < at,
                    and_(table.c.started_at == at, table.c.call_id < call_id),
                )
            )
        with self._engine.connect() as connection:
            found = connection.execute(wanted.limit(query.limit))
            return [CallRow(**row._mapping) for row in found]

    def call(self, call_id: str) -> StoredCall | None:
        turns = (
            select(TURNS.c.turn)
            .where(TURNS.c.call_id == call_id)
            .order_by(TURNS.c.number)
        )
        with self._engine.connect() as connection:
            row = connection.execute(
                select(CALLS).where(CALLS.c.call_id == call_id)
            ).first()
            if row is None:
                return None
            transcript = [found[0] for found in connection.execute(turns)]
        return StoredCall(row=CallRow(**row._mapping), transcript=transcript)

    # -- retention ---------------------------------------------------------------

    def forget_calls(self, before: float, limit: int) -> list[str]:
        """See L{forget_calls}."""
        with self._transaction() as connection:
            return forget_calls(connection, before, limit)

    def forget_deliveries(self, before: float, limit: int) -> int:
        """See L{forget_deliveries}."""
        with self._transaction() as connection:
            return forget_deliveries(connection, before, limit)

    def forget_instances(self, before: float, limit: int) -> int:
        """See L{forget_instances}."""
        with self._transaction() as connection:
            return forget_instances(connection, before, limit)


def _alive(now: float) -> Select[tuple[str]]:
    """Return the query for gateways that are alive."""
    return select(INSTANCES.c.instance).where(INSTANCES.c.seen_at >= now - GONE_SECONDS)


def _of_kin(table: Table, whose: Whose) -> ColumnElement[bool]:
    """Return the condition for rows of other processes of the same gateway."""
    return and_(
        table.c.instance == whose.instance, table.c.generation != whose.generation
    )
