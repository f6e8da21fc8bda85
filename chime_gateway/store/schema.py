"""
Creates the tables in a database, upgrades them, and checks that they are the
gateway's own.

A program writes to its own version of the schema only: in a newer one, the same
columns may mean something else.
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
from chime_gateway.store.engine import MIGRATION_SECONDS, patience, writing
from chime_gateway.store.tables import METADATA, REVISION

#: Any number: who holds this lock in PostgreSQL changes the tables; who shares it
#: writes into them.
_SCHEMA_LOCK: Final = 0x6368696D65

#: Another gateway of this machine that makes tables is waited for so long.
_LOCK_SECONDS: Final = 5.0

#: Alembic's own table.
_VERSIONS: Final = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)

#: Asked in each transaction, so it is built once.
_REVISIONS: Final = select(_VERSIONS.c.version_num)

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class WrongSchema(GatewayError):
    """The tables are not of this program's schema; the text is one line."""


class SchemaChanges(GatewayError):
    """Another program changes the tables just now."""


def bring_up_to_date(engine: Engine, folder: Path, *, may_change: bool = True) -> None:
    """
    @param folder: of the state, where instances of this machine find each other.
    @param may_change: C{False}: an older process of this gateway writes into the
        tables, and will go on if this one does not come to that.
    @raise WrongSchema: of a newer program, or of nobody that is known.
    @raise SchemaChanges: somebody else is at it.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    name = engine.url.database
    if is_sqlite and name and name != ":memory:" and not name.startswith("file:"):
        make_folder(Path(name).parent)
        # What SQLite puts beside it has the mode that it has then: who asked before us
        # has made it all for everybody.
        make_private(Path(name))
        for beside in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                keep_private(name + beside)
    with engine.begin() as connection:
        # Without a lock, which would keep others from writing.
        if _is_mine(connection):
            return
    if not may_change:
        raise SchemaChanges("an older process of this gateway has the tables")
    with (
        _one_at_a_time(folder),
        writing(engine).begin() as connection,
        patience(connection, MIGRATION_SECONDS),
    ):
        if not is_sqlite:
            lock = text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _SCHEMA_LOCK})
        _make_or_upgrade(connection)


def check(connection: Connection) -> None:
    """
    Are the tables those that this program knows, until the end of the transaction?

    @raise WrongSchema: they are not.
    @raise SchemaChanges: somebody changes them.
    """
    if connection.dialect.name != "sqlite":
        lock = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
        if not connection.scalar(lock, {"key": _SCHEMA_LOCK}):
            raise SchemaChanges("a newer gateway changes the tables")
    found = _revisions(connection)
    if found != [REVISION]:
        raise _wrong(found)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Instances of one machine that share a SQLite file."""
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
                        "another gateway of this machine changes the tables"
                    ) from exc
                time.sleep(0.02)
        yield


def _revisions(connection: Connection) -> list[str]:
    return sorted(connection.scalars(_REVISIONS).all())


def _wrong(found: list[str]) -> WrongSchema:
    mine = f"this program ({__version__}) knows {REVISION}"
    if not found:
        return WrongSchema(
            f"the schema of the database has no revision, {mine}: restart to have it"
            " looked at"
        )
    if len(found) > 1:
        return WrongSchema(
            f"alembic_version has {len(found)} rows ({', '.join(found)[:80]}), {mine}:"
            " leave the one that is true"
        )
    return WrongSchema(
        f"the schema of the database is {found[0]!r}, {mine}: run the newer"
        " chime-gateway again, or go back to the database of before its upgrade"
    )


def _known_revisions(connection: Connection) -> list[str]:
    """
    None, or one that this program has a migration for.

    @raise WrongSchema: otherwise.
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
    """The tables are up to date."""
    if _known_revisions(connection) != [REVISION]:
        return False
    _must_fit(connection)
    return set(METADATA.tables) <= set(inspect(connection).get_table_names())


def _make_or_upgrade(connection: Connection) -> None:
    """Alembic takes 15 MB of memory, and most starts have nothing for it to do."""
    found = _known_revisions(connection)
    if found and found != [REVISION]:
        _upgrade(connection)
        return
    # New, or made by halves, or somebody has taken a table away.
    _must_fit(connection)
    METADATA.create_all(connection)
    if not found:
        _VERSIONS.create(connection, checkfirst=True)
        connection.execute(_VERSIONS.insert().values(version_num=REVISION))


def _must_fit(connection: Connection) -> None:
    """
    @raise WrongSchema: there are tables of our names that are not ours.
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
                f" {REVISION} of this program ({__version__}) has: it is another"
                " program's, or was changed by hand"
            )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
