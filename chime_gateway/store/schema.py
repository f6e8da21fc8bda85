"""
Creates the tables in a database, upgrades them, and checks that they are the
gateway's own.

A program only writes to its own version of the schema: in a newer one, the same columns
may have another meaning.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
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

from chime_gateway import __version__
from chime_gateway.errors import GatewayError
from chime_gateway.net.system.private_files import (
    keep_private,
    make_folder,
    make_private,
    private,
)
from chime_gateway.store.engine import MIGRATION_SECONDS, deadline, writing
from chime_gateway.store.tables import METADATA, REVISION

#: An advisory lock of PostgreSQL (any number): held exclusively to change the tables,
#: shared to write rows.
_SCHEMA_LOCK: Final = 0x6368696D65

#: How long to wait for another gateway on this machine that is creating tables.
_LOCK_SECONDS: Final = 5.0

#: Alembic's own table.
_VERSIONS: Final = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)

#: Asked in each transaction, so it is built once.
_REVISIONS: Final = select(_VERSIONS.c.version_num)

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class WrongSchema(GatewayError):
    """The tables do not have this program's schema; the text is one line."""


class SchemaChanges(GatewayError):
    """Another program is changing the tables."""


def bring_up_to_date(engine: Engine, folder: Path, *, may_change: bool = True) -> None:
    """
    Create the tables, or upgrade them.

    @param folder: the state folder, which instances on this machine may share.
    @param may_change: C{False}: do not change tables, because an older process of this
        gateway still writes to them, and will continue if this one fails.
    @raise WrongSchema: they are of a newer version, or of another program.
    @raise SchemaChanges: another process is changing them.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    name = engine.url.database
    if is_sqlite and name and name != ":memory:" and not name.startswith("file:"):
        make_folder(Path(name).parent)
        # SQLite gives its other files the mode of the database.  A program that opened
        # the database before may have created all of them readable for everyone.
        make_private(Path(name))
        for beside in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                keep_private(name + beside)
    with engine.begin() as connection:
        # Without a lock, which would block writers.
        if _is_mine(connection):
            return
    if not may_change:
        raise SchemaChanges("an older process of this gateway is using the tables")
    with (
        _one_at_a_time(folder),
        writing(engine).begin() as connection,
        deadline(connection, MIGRATION_SECONDS),
    ):
        if not is_sqlite:
            lock = text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _SCHEMA_LOCK})
        _make_or_upgrade(connection)


def check(connection: Connection) -> None:
    """
    Check that the tables have this program's schema, until the end of the transaction.

    @raise WrongSchema: they do not.
    @raise SchemaChanges: another program is changing them.
    """
    if connection.dialect.name != "sqlite":
        lock = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
        if not connection.scalar(lock, {"key": _SCHEMA_LOCK}):
            raise SchemaChanges("a newer gateway is changing the tables")
    found = _revisions(connection)
    if found != [REVISION]:
        raise _wrong(found)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Lock the tables against instances on this machine that share a SQLite file."""
    make_folder(folder)
    until = time.monotonic() + _LOCK_SECONDS
    with open(folder / "migrate.lock", "w", opener=private) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > until:
                    raise SchemaChanges(
                        "another gateway on this machine is changing the tables"
                    ) from exc
                time.sleep(0.02)
        yield


def _revisions(connection: Connection) -> list[str]:
    return sorted(connection.scalars(_REVISIONS).all())


def _wrong(found: list[str]) -> WrongSchema:
    mine = f"this program ({__version__}) needs {REVISION}"
    if not found:
        return WrongSchema(
            f"the schema of the database has no revision, {mine}: restart the gateway,"
            " which will check the tables"
        )
    if len(found) > 1:
        return WrongSchema(
            f"alembic_version has {len(found)} rows ({', '.join(found)[:80]}), {mine}:"
            " delete all rows but the correct one"
        )
    return WrongSchema(
        f"the schema of the database is {found[0]!r}, {mine}: run the newer"
        " chime-gateway again, or restore the database from before its upgrade"
    )


def _known_revisions(connection: Connection) -> list[str]:
    """
    Return no revision, or one for which this program has a migration.

    @raise WrongSchema: the tables have another one, or several.
    """
    if not inspect(connection).has_table(_VERSIONS.name):
        return []
    found = _revisions(connection)
    if len(found) > 1 or not all(map(_is_known, found)):
        raise _wrong(found)
    return found


def _is_known(revision: str) -> bool:
    known = {path.name.partition("_")[0] for path in _MIGRATIONS.glob("versions/*.py")}
    return revision in known - {""}


def _is_mine(connection: Connection) -> bool:
    """Whether the tables are up to date."""
    if _known_revisions(connection) != [REVISION]:
        return False
    _must_fit(connection)
    return set(METADATA.tables) <= set(inspect(connection).get_table_names())


def _make_or_upgrade(connection: Connection) -> None:
    """Create the tables, or upgrade them by Alembic, which is large: 15 MB."""
    found = _known_revisions(connection)
    if found and found != [REVISION]:
        _upgrade(connection)
        return
    # The database is new, or incomplete, or a table was removed.
    _must_fit(connection)
    METADATA.create_all(connection)
    if not found:
        _VERSIONS.create(connection, checkfirst=True)
        connection.execute(_VERSIONS.insert().values(version_num=REVISION))


def _must_fit(connection: Connection) -> None:
    """
    @raise WrongSchema: a table with a name of the gateway's has other columns.
    """
    there_are = inspect(connection)
    for table in METADATA.tables.values():
        if not there_are.has_table(table.name):
            continue
        columns = {column["name"] for column in there_are.get_columns(table.name)}
        missing = sorted({column.name for column in table.columns} - columns)
        if missing:
            raise WrongSchema(
                f"the table {table.name} has no column {missing[0]}, which revision"
                f" {REVISION} of this program ({__version__}) has: the table belongs to"
                " another program, or was changed by hand; restore it, or use another"
                " database"
            )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
