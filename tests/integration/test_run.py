"""C{chimegw run}, at a terminal and without one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.takeover_harness import LIMITS, TAKEN
from tests.integration.twistd import Twistd, TwistdTestCase, environment

#: The approximate duration; see tests/run.py.
seconds = 16

RUN = "from chime_gateway.cli.main import main; main()"


class RunTests(TwistdTestCase):
    def run_it(self, *words: str, is_terminal: bool) -> tuple[Twistd, Any]:
        twistd = Twistd()
        process: Any = self.reactor.spawnProcess(
            twistd,
            sys.executable,
            [sys.executable, "-c", RUN, "run", *words],
            environment(str(self.state)),
            usePTY=is_terminal,
        )
        self.addCleanup(self.end, twistd, process)
        return twistd, process

    def test_its_log_format_depends_on_the_output(self) -> Deferred[None]:
        async def scene() -> None:
            for is_terminal in (True, False):
                words = ("--simulate", "--port", "0")
                twistd, process = self.run_it(*words, is_terminal=is_terminal)
                await self.until_it_says(twistd, "is ready for calls")
                process.signalProcess("TERM")
                await twistd.ended
                for line in twistd.text.splitlines():
                    if is_terminal:
                        self.assertRegex(line, r"\A\d\d:\d\d:\d\d [a-z]+ +\S")
                    else:
                        json.loads(line)

        return Deferred.fromCoroutine(scene())

    def test_a_successor_writes_the_log_as_its_predecessor_did(self) -> Deferred[None]:
        """It has no terminal of its own: its output goes through its predecessor."""

        async def scene() -> None:
            config = self.state / "limits.toml"
            config.write_text(LIMITS)
            words = ("--simulate", "--port", "0", "--config", str(config))
            for more, is_readable in (((), True), (("--log", "json"), False)):
                twistd, process = self.run_it(*words, *more, is_terminal=True)
                await self.until_it_says(twistd, "is ready for calls")
                os.kill(process.pid, signal.SIGUSR2)
                await self.until_it_says(twistd, TAKEN)
                (pid,) = re.findall(r"successor was .*process (\d+)", twistd.text)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
                process.signalProcess("KILL")
                await twistd.ended
                lines = twistd.text.splitlines()
                self.assertEqual(sum(TAKEN in line for line in lines), 1)
                for line in lines:
                    if is_readable:
                        self.assertRegex(line, r"\A\d\d:\d\d:\d\d [a-z]+ +\S")
                    else:
                        json.loads(line)

        return Deferred.fromCoroutine(scene())

    def test_an_error_is_one_line(self) -> Deferred[None]:
        async def scene() -> None:
            twistd, _ = self.run_it("--prot", "1", is_terminal=True)
            self.assertEqual((await twistd.ended).exitCode, 1)
            (line,) = twistd.text.splitlines()
            self.assertEqual(
                line, "chimegw: --prot: there is no such option; did you mean --port?"
            )

        return Deferred.fromCoroutine(scene())
