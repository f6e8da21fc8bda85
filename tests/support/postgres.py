"""A PostgreSQL server for the tests, on loopback, removed after them."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

_ROOT = Path("/usr/lib/postgresql")


def _binaries() -> Path | None:
    found = sorted(_ROOT.glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    beside = shutil.which("initdb")
    return Path(beside).parent if beside else None


BINARIES = _binaries()

#: Why tests that need PostgreSQL are skipped; empty: they are not.
MISSING = "" if BINARIES else "PostgreSQL is not installed (apt-get install postgresql)"


class Postgres:
    """
    One server with an empty cluster.

    It does not run as root, which PostgreSQL refuses.
    """

    def __init__(self) -> None:
        assert BINARIES is not None
        self._folder = Path(tempfile.mkdtemp(prefix="chimegw-pg-"))
        self._who: dict[str, Any] = {}
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
            self._who = {"user": "postgres", "group": "postgres"}
        self.port = free_port()
        self._run(
            "initdb",
            "-D",
            self._data,
            "-A",
            "trust",
            "-U",
            "chimegw",
            "-E",
            "UTF8",
            "-N",
        )
        self._databases = 0
        self.start()

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        assert BINARIES is not None
        subprocess.run(
            [str(BINARIES / program), *arguments],
            check=check,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env={**os.environ, "LC_ALL": "C"},
            **self._who,
        )

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off"
            f" -c unix_socket_directories={self._folder}"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop", check=False)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, as if the machine had stopped."""
        first = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def new_database(self) -> str:
        """Create an empty database, and return its URL."""
        self._databases += 1
        name = f"test{self._databases}_{int(time.time() * 1000)}"
        server = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "chimegw"]
        self._run("createdb", *server, name)
        return f"postgresql+psycopg://chimegw@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.thaw()
        self.stop()
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)


_server: Postgres | None = None


def server() -> Postgres:
    """Return the server that all tests share."""
    global _server
    if _server is None:
        _server = Postgres()
        atexit.register(_server.close)
    return _server
