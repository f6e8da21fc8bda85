"""
Connects to the database, with deadlines that do not depend on the server.

A stopped server or a broken network does not answer at all, and PostgreSQL's own
timeouts run in the server: only the client can give up.  SQLite's transactions are
begun here and not by its driver, which would not include statements that create
tables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event

#: How long to wait for a locked SQLite file.
_BUSY_SECONDS: Final = 3.0

#: The deadline for connecting to a server.
_CONNECT_SECONDS: Final = 3

#: The deadline of a statement.
STATEMENT_SECONDS: Final = 5.0

#: The deadline of a statement that changes tables.
MIGRATION_SECONDS: Final = 600.0

#: The option of an engine whose transactions write.
_WRITES: Final = "chimegw_writes"


def new_engine(url: URL) -> Engine:
    """
    Make an engine.  Its exceptions do not quote rows, which contain telephone numbers
    and transcripts.

    @raise ImportError: the driver is not installed.
    """
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)


def writing(engine: Engine) -> Engine:
    """Return the engine with transactions that exclude other writers at once."""
    return engine.execution_options(**{_WRITES: True})


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True
    )

    opened: list[tuple[int, int]] = []

    def must_be_the_same() -> None:
        if opened and opened != _files(url.database):
            # Records written to a removed file would be lost.  The new file must not
            # be opened beside it: SQLite finds its log by name, and it may belong to
            # either file.
            raise OSError(
                "the file of the database was removed or replaced: put it back, or"
                " restart the gateway"
            )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        must_be_the_same()
        connection.isolation_level = None
        # With WAL, readers and the writer do not block each other.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        if not opened:
            opened.extend(_files(url.database))

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        must_be_the_same()
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _files(path: str | None) -> list[tuple[int, int]]:
    """Return the device and the inode of a file; empty if it does not exist."""
    try:
        found = os.stat(path or "")
    except OSError:
        return []
    return [(found.st_dev, found.st_ino)]


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=5,
        pool_timeout=_CONNECT_SECONDS,
        hide_parameters=True,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            # A database created without an encoding would return bytes.
            "client_encoding": "utf8",
        },
    )
    connection_class = _with_deadlines()

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: Any, options: Any) -> Any:
        return connection_class.connect(*arguments, **options)

    return engine


def _with_deadlines() -> Any:
    """Return the driver's connection class, with deadlines."""
    import psycopg

    class ConnectionWithDeadlines(psycopg.Connection):  # type: ignore[misc]
        deadline_seconds = STATEMENT_SECONDS

        def wait(self, generator: object, *args: object, **kwargs: object) -> Any:
            by = time.monotonic() + self.deadline_seconds
            return super().wait(self._until(generator, by), *args, **kwargs)

        def _until(self, generator: Any, by: float) -> Generator[Any, Any, Any]:
            """Take the same steps; the driver takes several each second."""
            try:
                wanted = next(generator)
                while True:
                    ready = yield wanted
                    if not ready and time.monotonic() > by:
                        # A late answer could be taken for that of a later statement.
                        self.close()
                        raise psycopg.OperationalError(
                            f"no answer within {self.deadline_seconds:g} s"
                        )
                    wanted = generator.send(ready)
            except StopIteration as end:
                return end.value

    return ConnectionWithDeadlines


@contextmanager
def deadline(connection: Connection, seconds: float) -> Iterator[None]:
    """Change the deadline of statements within this context."""
    driver: Any = connection.connection.driver_connection
    if not hasattr(driver, "deadline_seconds"):
        yield
        return
    before, driver.deadline_seconds = driver.deadline_seconds, seconds
    try:
        yield
    finally:
        driver.deadline_seconds = before
