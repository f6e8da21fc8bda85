"""
Connects to the database, with deadlines that hold whatever the server does.

A server that is stopped, or a network that is cut, answers nothing at all, and
PostgreSQL's own timeouts are the server's: only the client can give up.  SQLite's
transactions are begun here and not by its driver, which would not include statements
that create tables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event

#: A locked SQLite file is waited for so long.
_BUSY_SECONDS: Final = 3.0

#: A server is reached within this time.
_CONNECT_SECONDS: Final = 3

#: A statement is answered within this time.
STATEMENT_SECONDS: Final = 5.0

#: One that changes tables.
MIGRATION_SECONDS: Final = 600.0

#: The option of an engine whose transactions write.
_WRITES: Final = "chimegw_writes"


def new_engine(url: URL) -> Engine:
    """
    Rows are in no traceback: there are numbers and speech in them.

    @raise ImportError: the driver is not installed.
    """
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)


def writing(engine: Engine) -> Engine:
    """The engine, with transactions that exclude other writers from the start."""
    return engine.execution_options(**{_WRITES: True})


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True
    )

    opened: list[tuple[int, int]] = []

    def must_be_the_same() -> None:
        if opened and opened != _files(url.database):
            # Nobody would ever find what is written to one that was taken away.  The
            # other one is not opened beside it: SQLite's log, which goes by the name,
            # may be of either.
            raise OSError(
                "the file of the database was taken away, or replaced: put it back, or"
                " restart"
            )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        must_be_the_same()
        connection.isolation_level = None
        # Readers and the one writer do not wait for each other.
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
    """Which file has that name, if any: its device and number."""
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
            # A database made without an encoding would answer in bytes.
            "client_encoding": "utf8",
        },
    )
    connection_class = _impatient()

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: Any, options: Any) -> Any:
        return connection_class.connect(*arguments, **options)

    return engine


def _impatient() -> Any:
    """The driver's connection, with deadlines."""
    import psycopg

    class Impatient(psycopg.Connection):  # type: ignore[misc]
        #: Seconds.
        patience = STATEMENT_SECONDS

        def wait(self, generator: Any, *args: Any, **kwargs: Any) -> Any:
            by = time.monotonic() + self.patience
            return super().wait(self._until(generator, by), *args, **kwargs)

        def _until(self, generator: Any, by: float) -> Generator[Any, Any, Any]:
            """The same steps; the driver takes one some times a second."""
            try:
                wanted = next(generator)
                while True:
                    ready = yield wanted
                    if not ready and time.monotonic() > by:
                        # Nobody knows what will still come on it.
                        self.close()
                        raise psycopg.OperationalError(
                            f"no answer within {self.patience:g} s"
                        )
                    wanted = generator.send(ready)
            except StopIteration as end:
                return end.value

    return Impatient


@contextmanager
def patience(connection: Connection, seconds: float) -> Iterator[None]:
    """Change the deadline of statements within this context."""
    driver: Any = connection.connection.driver_connection
    if not hasattr(driver, "patience"):
        yield
        return
    before, driver.patience = driver.patience, seconds
    try:
        yield
    finally:
        driver.patience = before
