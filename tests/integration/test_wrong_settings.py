"""
Each wrong setting is reported in one line by the check, without starting anything.

C{python -m tests.integration.test_wrong_settings} prints the table.
"""

from __future__ import annotations

import io
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.twistd import Options
from tests.integration.twistd import ROOT, environment
from tests.integration.wrong_settings.agents import AGENTS
from tests.integration.wrong_settings.azure import DEPLOYMENTS, NAMES
from tests.integration.wrong_settings.carriers import CARRIERS
from tests.integration.wrong_settings.machine import DOORS, KEPT
from tests.integration.wrong_settings.wrong import AZURE, Wrong
from tests.support.certificates import self_signed

WRONG = (*DEPLOYMENTS, *NAMES, *DOORS, *KEPT, *CARRIERS, *AGENTS)


class Bench:
    """The files and the ports in use that wrong settings refer to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets = [
            socket.create_server(("127.0.0.1", 0)),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        ]
        self.sockets[1].bind(("0.0.0.0", 0))
        (folder / "file").write_text("no database, no certificate, no folder")
        (folder / "good.pem").write_bytes(self_signed())
        (folder / "other.pem").write_bytes(self_signed())
        (folder / "old.pem").write_bytes(self_signed(days=-2))

    def close(self) -> None:
        for one in self.sockets:
            one.close()

    def fill_in(self, text: str) -> str:
        tcp, udp = (one.getsockname()[1] for one in self.sockets)
        for name, value in (("folder", self.folder), ("tcp", tcp), ("udp", udp)):
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def check(self, wrong: Wrong) -> tuple[int, list[str]]:
        """Run C{--check}; return the status and the lines."""
        env = {**environment(str(self.folder / "state")), **AZURE}
        env |= {name: self.fill_in(value) for name, value in wrong.env.items()}
        env = {name: value for name, value in env.items() if value}
        argv = ["--check", *map(self.fill_in, wrong.argv)]
        if "--port" not in argv and "--listen" not in argv:
            argv += ["--port", "0"]
        for option, name, text in (
            ("--config", "gateway.toml", wrong.toml),
            ("--env-file", "gateway.env", wrong.env_file),
        ):
            if text:
                path = self.folder / name
                path.write_text(self.fill_in(text))
                argv += [option, str(path)]
        said = io.StringIO()
        unread = redirect_stdout(io.StringIO())
        heard = redirect_stderr(said)
        with patch.dict(os.environ, env, clear=True), heard, unread, at(ROOT):
            status, why = outcome(argv)
        return status, [*why, *said.getvalue().splitlines()]


@contextmanager
def at(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def outcome(argv: list[str]) -> tuple[int, list[str]]:
    try:
        Options().parseOptions(argv)
    except usage.UsageError as exc:
        # twistd prints the same text in one line.
        return 1, str(exc).splitlines()
    except SystemExit as exc:
        return int(exc.code or 0), []
    raise AssertionError("the check goes on")


def faults(wrong: Wrong, status: int, lines: list[str]) -> Iterator[str]:
    """Yield what is missing in the message."""
    if wrong.is_note:
        lines = [line for line in lines if wrong.key in line]
    if status != (0 if wrong.is_note else 1):
        yield f"status {status}"
    if len(lines) != 1:
        yield f"{len(lines)} lines"
    text = "".join(lines)
    if len(text) > 420:
        yield f"{len(text)} characters"
    for what in (wrong.key, wrong.value, wrong.cure):
        for place in ("{folder}", "{tcp}", "{udp}"):
            what = what.partition(place)[2] if place in what else what
        if what not in text:
            yield f"without {what!r}"


class WrongSettingsTests(SynchronousTestCase):
    def test_each_message_is_one_line_with_key_value_and_remedy(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder))
            self.addCleanup(bench.close)
            found = []
            for wrong in WRONG:
                status, lines = bench.check(wrong)
                found += [
                    f"{wrong.what}: {fault}: {lines}"
                    for fault in faults(wrong, status, lines)
                ]
        self.assertEqual(found, [], "\n".join(found))


def table() -> Iterator[str]:
    """Yield a table in Markdown."""
    yield "| what is wrong | `--check` | message |"
    yield "|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for wrong in WRONG:
            status, lines = bench.check(wrong)
            if wrong.is_note:
                lines = [line for line in lines if wrong.key in line]
            text = " / ".join(lines).replace(folder, "/tmp/x").replace("|", "\\|")
            text = text.removeprefix("chimegw: ")
            is_whole = not list(faults(wrong, status, lines))
            found = ("refuses" if status else "notes") + ("" if is_whole else " (!)")
            yield f"| {wrong.what} | {found} | {text} |"
        bench.close()


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
