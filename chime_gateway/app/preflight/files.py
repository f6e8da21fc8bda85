"""
Checks the folders and files of a gateway: whether they are writable and valid.  The
checks leave no files behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from cryptography import x509

from chime_gateway.errors import ConfigError
from chime_gateway.settings.values import GatewaySettings, StoreSettings

_SQLITE: Final = "sqlite:"
_SQLITE_HEAD: Final = b"SQLite format 3\0"

#: With less, the disk may be too small for records and recordings of a busy hour.
_LEAST_FREE_BYTES: Final = 500_000_000

#: A certificate that expires within this time is reported.
_SOON_DAYS: Final = 14


def write_fault(folder: Path) -> str:
    """Return why no file can be created in a folder; empty if one can."""
    try:
        made = _make(folder)
        try:
            with tempfile.TemporaryFile(dir=folder):
                return ""
        finally:
            for one in reversed(made):
                one.rmdir()
    except NotADirectoryError:
        return "a part of its path is a file, not a folder"
    except FileExistsError:
        return "it is a file, not a folder"
    except OSError as exc:
        return (exc.strerror or str(exc)).lower()


def _make(folder: Path) -> list[Path]:
    """
    Create a folder.

    @return: the folders that were missing, outermost first.
    """
    missing = [one for one in (folder, *folder.parents) if not os.path.exists(one)]
    made: list[Path] = []
    try:
        for one in reversed(missing):
            one.mkdir(mode=0o700)
            made.append(one)
        if not os.path.isdir(folder):
            raise FileExistsError
    except OSError:
        for one in reversed(made):
            one.rmdir()
        raise
    return made


def unwritable(settings: GatewaySettings, here: Path) -> Iterator[str]:
    """
    Yield the folders and files that cannot be written.

    @param here: the folder that relative paths are relative to.
    """
    folders = {
        "CHIMEGW_RECORDINGS": _local_recordings(settings),
        "--capture": settings.capture_directory,
    }
    store = settings.store
    if store is not None:
        folders = {"CHIMEGW_STATE": store.state_directory, **folders}
        yield from _database_faults(store, here)
    for key, name in folders.items():
        why = write_fault(here / name) if name else ""
        if why:
            yield (
                f"{key} {name}: no file can be created in that folder: {why}; name a"
                " folder that the gateway's user may write to"
            )


def _local_recordings(settings: GatewaySettings) -> str:
    recordings = settings.recordings
    return "" if recordings.is_s3 else recordings.location


def _database_faults(store: StoreSettings, here: Path) -> Iterator[str]:
    url = store.database_url
    if not url.startswith(_SQLITE):
        if find_spec("psycopg") is None:
            yield (
                "CHIMEGW_DATABASE_URL: the driver for PostgreSQL is not installed; run:"
                " pip install 'chime-gateway[postgresql]'"
            )
        return
    name = unquote(urlsplit(url).path).removeprefix("/")
    if not name or name == ":memory:":
        yield (
            "CHIMEGW_DATABASE_URL: it names no file; write sqlite:///FILE (four slashes"
            " if the path is absolute), or leave it out"
        )
        return
    path = here / name
    # A folder of another user may hide what is in it.
    if os.path.isdir(path):
        yield f"CHIMEGW_DATABASE_URL: {path} is a folder; name a file in it"
    elif os.path.exists(path):
        yield from _sqlite_faults(path)
    elif path.parent != here / store.state_directory and (
        why := write_fault(path.parent)
    ):
        yield (
            f"CHIMEGW_DATABASE_URL: no file can be created in {path.parent}: {why};"
            " name a folder that the gateway's user may write to"
        )


def _sqlite_faults(path: Path) -> Iterator[str]:
    try:
        with open(path, "r+b") as file:
            head = file.read(len(_SQLITE_HEAD))
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        yield (
            f"CHIMEGW_DATABASE_URL: {path} cannot be opened for writing: {why}; let the"
            " gateway's user write to it, or name another file"
        )
        return
    if head and head != _SQLITE_HEAD:
        yield (
            f"CHIMEGW_DATABASE_URL: {path} is not a SQLite database; name another file"
        )


def little_room(settings: GatewaySettings, here: Path) -> Iterator[str]:
    """Yield the folders of stored calls with little disk space left."""
    store = settings.store
    folders = {
        "CHIMEGW_STATE": "" if store is None else store.state_directory,
        "CHIMEGW_RECORDINGS": _local_recordings(settings),
    }
    for key, name in folders.items():
        if not name:
            continue
        path = (here / name).absolute()
        there = next(one for one in (path, *path.parents) if os.path.exists(one))
        free = shutil.disk_usage(there).free
        if free < _LEAST_FREE_BYTES:
            yield (
                f"{key} {name}: its disk has only {free // 1_000_000} MB left; free"
                " some, or name a folder on another disk"
            )


def certificate_faults(settings: GatewaySettings) -> Iterator[str]:
    """Yield what is wrong with the certificate of SIP over TLS."""
    sip = settings.sip
    if "tls" not in {one.transport for one in sip.listen}:
        return
    for key, name in (
        ("CHIMEGW_SIP_CERTIFICATE", sip.certificate),
        ("CHIMEGW_SIP_PRIVATE_KEY", sip.private_key),
    ):
        if name and not os.path.isfile(name):
            yield (
                f"{key} {name}: there is no such file; name a PEM file by its absolute"
                " path"
            )
            return
    # Imported when used: TLS takes time to load.
    from chime_gateway.carriers.sip.transport.tls import server_tls

    try:
        server_tls(sip)
    except ConfigError as exc:
        yield str(exc)
        return
    with open(sip.certificate, "rb") as file:
        first = x509.load_pem_x509_certificates(file.read())[0]
    end = first.not_valid_after_utc
    if end < datetime.now(UTC):
        yield (
            f"CHIMEGW_SIP_CERTIFICATE {sip.certificate}: it expired on {end:%Y-%m-%d};"
            " renew it"
        )


def certificate_notes(settings: GatewaySettings) -> Iterator[str]:
    """Warns of a certificate that expires soon."""
    sip = settings.sip
    if "tls" not in {one.transport for one in sip.listen}:
        return
    with open(sip.certificate, "rb") as file:
        first = x509.load_pem_x509_certificates(file.read())[0]
    end = first.not_valid_after_utc
    if (end - datetime.now(UTC)).days < _SOON_DAYS:
        yield (
            f"CHIMEGW_SIP_CERTIFICATE {sip.certificate}: it expires on {end:%Y-%m-%d};"
            " renew it"
        )
