"""
The tables in a database: made there, or brought up to date.

What is written into them is not known here.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    inspect,
    select,
    text,
)

from chime_gateway.store.tables import CALLS, METADATA, REVISION

#: Any number: who holds this lock in PostgreSQL makes the tables.
_MIGRATION_LOCK: Final = 0x6368696D65

#: Alembic's own table.
_VERSIONS: Final = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)


def bring_up_to_date(engine: Engine, folder: Path) -> None:
    """
    @param folder: of the state, where instances of this machine find each other.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    if is_sqlite and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder), engine.begin() as connection:
        if not is_sqlite:
            lock = text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _MIGRATION_LOCK})
        _make_or_upgrade(connection)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Instances of one machine that share a SQLite file."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "migrate.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_or_upgrade(connection: Connection) -> None:
    """Alembic takes 15 MB of memory, and most starts have nothing for it to do."""
    there_are = inspect(connection)
    if there_are.has_table(_VERSIONS.name):
        if connection.scalars(select(_VERSIONS.c.version_num)).all() != [REVISION]:
            _upgrade(connection)
    elif there_are.has_table(CALLS.name):
        _upgrade(connection)
    else:
        METADATA.create_all(connection)
        _VERSIONS.create(connection)
        connection.execute(_VERSIONS.insert().values(version_num=REVISION))


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
