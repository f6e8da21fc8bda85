"""The log of a process: to a pipe that is not read, to files, and at the end."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.error import ProcessDone
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutput

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.dial import place_call
from tests.integration.twistd import RUN, Twistd, TwistdTestCase, environment
from tests.whole_calls.test_media_stream import SHORT, phrase

#: The approximate duration; see tests/run.py.
seconds = 21

#: The same with a queue that is so short that calls fill it.
RUN_WITH_LITTLE_ROOM = f"""
from functools import partial
import chime_gateway.app.log.destination as log
log.LogThread = partial(log.LogThread, max_lines=12)
{RUN}
"""

#: The smallest pipe is one page; the log of two calls is longer.
PIPE_BYTES = 4096


class LogTests(TwistdTestCase):
    def gateway(self, *before: str, run: str = RUN) -> tuple[Twistd, Any]:
        """
        Start a gateway.

        @param before: options of twistd itself.
        """
        words = ["-c", run, "-n", "--pidfile=", *before, "chimegw"]
        return self.spawn([*words, "--simulate", "--port", "0"])

    async def unread(self, run: str = RUN) -> tuple[Twistd, Any]:
        """Start a gateway, and stop reading its log when it is ready."""
        twistd, process = self.gateway(run=run)
        await self.until_it_says(twistd, "is ready for calls")
        process.pauseProducing()
        fcntl.fcntl(process.pipes[1].fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return twistd, process

    async def calls(self, port: int | None, count: int) -> list[CallReport]:
        """Place this number of calls at once."""
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),), answer_seconds=5.0)
        url = f"ws://127.0.0.1:{port}/stream"
        return await gatherResults(
            [place_call(url, plan, PCMU, reactor=self.reactor) for _ in range(count)]
        )

    async def page(self, port: int | None, path: str) -> str:
        url = f"http://127.0.0.1:{port}{path}"
        read = f"print(u.urlopen({url!r}, timeout=5).read().decode())"
        out: bytes = await getProcessOutput(
            sys.executable,
            ("-c", f"import urllib.request as u; {read}"),
            reactor=self.reactor,
        )
        return out.decode()

    async def lines_lost(self, port: int | None) -> int:
        page = await self.page(port, "/metrics")
        found = re.search(r"^chimegw_log_lines_lost_total (\d+)", page, re.MULTILINE)
        assert found is not None, page
        return int(found[1])

    async def test_calls_go_on_with_an_unread_log_and_nothing_is_lost(self) -> None:
        twistd, process = await self.unread()
        port = twistd.port()
        reports = await self.calls(port, 6)
        self.assertEqual([r.error for r in reports], [""] * 6)
        self.assertEqual([r.unanswered for r in reports], [0] * 6)
        health = json.loads(await self.page(port, "/health"))
        self.assertEqual((health["status"], health["calls_active"]), ("ok", 0))
        self.assertEqual(await self.lines_lost(port), 0)
        process.resumeProducing()
        process.signalProcess("TERM")
        end = await twistd.ended.addErrback(lambda failure: failure.value)
        self.assertIsInstance(end, ProcessDone)
        names = [e["event"].split()[0] for e in twistd.events()]
        self.assertEqual(names.count("call.started"), 6)
        self.assertEqual(names.count("call.ended"), 6)
        self.assertEqual(twistd.events()[-1]["event"], "Server Shut Down.")

    async def test_lost_lines_are_counted_and_reported(self) -> None:
        twistd, process = await self.unread(RUN_WITH_LITTLE_ROOM)
        port = twistd.port()
        reports = await self.calls(port, 12)
        self.assertEqual([r.error for r in reports], [""] * 12)
        lost = await self.lines_lost(port)
        self.assertGreater(lost, 0)
        process.resumeProducing()
        await self.until_it_says(twistd, "lines were lost")
        process.signalProcess("TERM")
        await twistd.ended.addErrback(lambda failure: failure.value)
        told = sum(e["lost"] for e in twistd.events() if "were lost" in e["event"])
        self.assertEqual(told, lost)

    async def test_the_process_ends_with_an_unread_log(self) -> None:
        twistd, process = await self.unread()
        await self.calls(twistd.port(), 6)
        process.signalProcess("TERM")
        # The pipe ends only when all of it has been read.
        while process.pid is not None:
            await deferLater(self.reactor, 0.02)
        process.resumeProducing()
        end = await twistd.ended.addErrback(lambda failure: failure.value)
        self.assertIsInstance(end, ProcessDone)
        self.assertNotIn("Fatal", twistd.text)

    async def test_a_file_is_written_and_rotated_by_signal(self) -> None:
        path = self.state / "gateway.log"
        twistd, process = self.gateway(f"--logfile={path}")
        await self.until_in(path, "is ready for calls")
        process.signalProcess(signal.SIGUSR1)
        await self.until_in(self.state / "gateway.log.1", "is ready for calls")
        process.signalProcess("TERM")
        end = await twistd.ended.addErrback(lambda failure: failure.value)
        self.assertIsInstance(end, ProcessDone)
        self.assertEqual(twistd.text, "")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(lines[-1]["event"], "Server Shut Down.")

    async def test_a_daemon_has_its_log_in_a_file(self) -> None:
        path, pid = self.state / "twistd.log", self.state / "pid"
        words = ["-c", RUN, f"--pidfile={pid}", f"--rundir={self.state}"]
        words += [f"--logfile={path}", "chimegw", "--simulate", "--port", "0"]
        await getProcessOutput(
            sys.executable,
            words,
            env=environment(str(self.state)),
            reactor=self.reactor,
            errortoo=True,
        )
        self.addCleanup(self.end_daemon, pid)
        await self.until_in(path, "is ready for calls")
        os.kill(int(pid.read_text()), signal.SIGTERM)
        await self.until_in(path, "Server Shut Down.")
        text = path.read_text()
        self.assertEqual(text.count("starting up"), 1)
        self.assertEqual(text.count("is ready for calls"), 1)

    def end_daemon(self, pid: Path) -> None:
        """Kill a daemon that a failed test has left running."""
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)

    async def until_in(self, path: Path, text: str) -> None:
        while not path.exists() or text not in path.read_text():
            await deferLater(self.reactor, 0.02)
