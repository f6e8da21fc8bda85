"""Take-overs and the process's supervisor, log, folder and listening addresses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutput

from chime_gateway.app.takeover.state_file import ticks_of
from tests.integration.takeover_harness import (
    FAILED,
    TAKEN,
    TakeOverTestCase,
)
from tests.integration.twistd import ROOT, RUN, environment

#: Checks no audio quality and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 60

_CREDENTIALS = struct.Struct("3i")

UNIT = Path(ROOT) / "deploy" / "systemd" / "chimegw@.service"


class Supervisor:
    """
    Acts like systemd with C{NotifyAccess=}: accepts messages of the main process only,
    or of all processes of the unit; these may name another main process.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self.main = 0
        self.believes_all = "\nNotifyAccess=all\n" in UNIT.read_text()
        self.believed: list[str] = []
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._end.setblocking(False)
        self._end.bind("\0" + name)
        self._reactor = reactor
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._end.fileno()

    def logPrefix(self) -> str:
        return "supervisor"

    def doRead(self) -> None:
        data, ancillary, _, _ = self._end.recvmsg(4096, 256)
        sender = 0
        for _, kind, sent in ancillary:
            if kind == socket.SCM_CREDENTIALS:
                sender = _CREDENTIALS.unpack(sent)[0]
        if not (self.believes_all or sender == self.main):
            return
        for line in data.decode().split("\n"):
            name, _, value = line.partition("=")
            if name == "MAINPID":
                self.main = int(value)
            if name in ("READY", "RELOADING", "STOPPING", "MAINPID"):
                self.believed.append(name)

    def connectionLost(self, reason: Any) -> None:
        self.close()

    def close(self) -> None:
        self._reactor.removeReader(self)
        self._end.close()


class ProcessTests(TakeOverTestCase):
    async def test_the_supervisor_knows_which_process_it_is(self) -> None:
        """After each take-over, and at the end when the newest process stops."""
        name = f"chimegw-{os.getpid()}-{id(self)}"
        supervisor = Supervisor(self.reactor, name)
        self.addCleanup(supervisor.close)
        words = ["-c", RUN, "-n", f"--pidfile={self.state}/pid"]
        words += ["chimegw", "--simulate", "--port", "0"]
        twistd, process = self.spawn(words, NOTIFY_SOCKET=f"@{name}")
        self.addCleanup(self.end_all, twistd)
        supervisor.main = process.pid
        await self.until(lambda: supervisor.believed == ["READY"])
        for _ in range(2):
            pid = await self.take_over(twistd)
            await self.until(lambda pid=pid: supervisor.main == pid)
        os.kill(pid, signal.SIGHUP)
        await self.until(lambda: supervisor.believed[-2:] == ["RELOADING", "READY"])
        os.kill(pid, signal.SIGTERM)
        await self.ended(twistd)
        self.assertEqual(
            supervisor.believed,
            ["READY", "MAINPID", "MAINPID", "RELOADING", "READY", "STOPPING"],
        )

    async def test_the_supervisor_learns_which_process_takes_over_again(
        self,
    ) -> None:
        """In any sequence of events it knows which process takes new calls."""
        name = f"chimegw-{os.getpid()}-{id(self)}"
        supervisor = Supervisor(self.reactor, name)
        self.addCleanup(supervisor.close)
        twistd, process = await self.gateway(NOTIFY_SOCKET=f"@{name}")
        supervisor.main = process.pid
        # Each process keeps a call, so that it can take over again.
        pids, calls = [process.pid], [self.long_call(twistd.port())]
        for is_lost in (False, False, True, True):
            await self.until_count(twistd, "call.answered", len(calls))
            if is_lost:
                os.kill(pids.pop(), signal.SIGKILL)
            else:
                pids.append(await self.take_over(twistd, pids[-1]))
                calls.append(self.long_call(twistd.port()))
            await self.until(lambda: supervisor.main == pids[-1] == self.pid())
        os.kill(pids[-1], signal.SIGTERM)
        # Two signals at once may merge.
        await self.until_it_says(twistd, "told to stop")
        os.kill(pids[-1], signal.SIGTERM)
        await self.ended(twistd)
        self.assertEqual(supervisor.believed[-1], "STOPPING")
        await DeferredList([call.over for call in calls], consumeErrors=True)

    async def test_a_daemon_has_a_successor(self) -> None:
        """
        The successor keeps the log file, with whole lines, the pid file and folder.
        """
        path, pid_file = self.state / "twistd.log", self.state / "pid"
        config = self.state / "gateway.toml"
        config.write_text("")
        words = ["-c", RUN, f"--pidfile={pid_file}"]
        words += [f"--rundir={self.state}", f"--logfile={path}", "chimegw"]
        words += ["--simulate", "--port", "0", "--config", str(config)]
        await getProcessOutput(
            sys.executable,
            words,
            env=environment(str(self.state)),
            reactor=self.reactor,
            errortoo=True,
        )
        self.addCleanup(self.end_daemon, pid_file)
        await self.until_in(path, "is ready for calls")
        pids = [self.pid()]
        for count in (1, 2):
            os.kill(pids[-1], signal.SIGUSR2)
            await self.until_in(path, TAKEN, count)
            await self.until(lambda: ticks_of(pids[-1]) < 0)
            pids.append(self.pid())
        self.assertEqual(len(set(pids)), 3)
        # Only the process that started a daemon sees its last output.
        config.write_text("nonsense")
        os.kill(pids[-1], signal.SIGUSR2)
        await self.until_in(path, FAILED)
        os.kill(pids[-1], signal.SIGTERM)
        await self.until(lambda: not pid_file.exists())
        events = [json.loads(line) for line in path.read_text().splitlines()]
        (failed,) = (e["event"] for e in events if FAILED in e["event"])
        self.assertIn("gateway.toml", failed)

    async def test_new_settings_change_the_listening_addresses(self) -> None:
        """
        Also with TLS: an address that stays keeps its socket, a removed one is closed,
        and a new one is opened.
        """
        certificate = await self.certificate()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            other = probe.getsockname()[1]
        config = self.state / "gateway.toml"
        tls = (
            f"ssl:0:interface=127.0.0.1:privateKey={certificate}:certKey={certificate}"
        )
        config.write_text(f'listen = ["{tls}", "tcp:0:interface=127.0.0.1"]\n')
        words = ["-c", RUN, "-n", f"--pidfile={self.state}/pid"]
        words += ["chimegw", "--simulate", "--config", str(config)]
        twistd, _ = self.spawn(words)
        self.addCleanup(self.end_all, twistd)
        await self.until_it_says(twistd, "is ready for calls")
        second, first = self.ports(twistd.text)
        await self.take_over(twistd)
        self.assertEqual(self.ports(twistd.text)[-2:], [second, first])
        self.assertIn("ok", await self.page(second, is_tls=True))
        config.write_text(f'listen = ["{tls}", "tcp:{other}:interface=127.0.0.1"]\n')
        await self.take_over(twistd)
        await self.until_it_says(twistd, "no longer listened on")
        self.assertIn("ok", await self.page(other))
        self.assertIn("ok", await self.page(second, is_tls=True))
        # It is closed when the process that had it has ended.
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", first)):
                    break
            await deferLater(self.reactor, 0.05)

    async def page(self, port: int, *, is_tls: bool = False) -> str:
        url = f"http{'s' if is_tls else ''}://127.0.0.1:{port}/health"
        read = (
            "import ssl, urllib.request as u; c = ssl._create_unverified_context();"
            f"print(u.urlopen({url!r}, timeout=10, context=c).read().decode())"
            if is_tls
            else "import urllib.request as u;"
            f"print(u.urlopen({url!r}, timeout=10).read().decode())"
        )
        out: bytes = await getProcessOutput(
            sys.executable, ("-c", read), reactor=self.reactor, errortoo=True
        )
        return out.decode()

    def ports(self, text: str) -> list[int]:
        found = re.findall(r'"address": "IPv4Address.*?port=(\d+)\)"', text)
        return [int(port) for port in found]

    async def certificate(self) -> str:
        path = str(self.state / "both.pem")
        await getProcessOutput(
            "/usr/bin/openssl",
            (
                *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=localhost", "-keyout", path, "-out", path + ".crt"),
            ),
            reactor=self.reactor,
            errortoo=True,
        )
        with open(path, "a", encoding="ascii") as file:
            file.write(Path(path + ".crt").read_text())
        return path

    async def until_in(self, path: Path, text: str, count: int = 1) -> None:
        await self.until(
            lambda: path.exists() and path.read_text().count(text) >= count
        )

    def end_daemon(self, pid: Path) -> Deferred[None] | None:
        """Kill a daemon that a failed test has left running."""
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)
        return None
