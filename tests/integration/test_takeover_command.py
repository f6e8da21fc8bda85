"""C{chimegw takeover} at a terminal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.utils import getProcessOutputAndValue

from tests.integration.takeover_harness import TakeOverTestCase
from tests.integration.twistd import environment

#: Checks no audio quality and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 40


class CommandTests(TakeOverTestCase):
    async def takeover(self, *words: str) -> tuple[str, int]:
        run = "from chime_gateway.cli.main import main; main()"
        out, err, status = await getProcessOutputAndValue(
            sys.executable,
            ["-c", run, "takeover", *words],
            env=environment(str(self.state)),
            reactor=self.reactor,
        )
        return (out + err).decode(), status

    async def test_it_reports_the_outcome(self) -> None:
        settings = self.state / "gateway.toml"
        settings.write_text("")
        twistd, process = await self.gateway("--config", str(settings))
        said, status = await self.takeover()
        self.assertEqual(status, 0, said)
        self.assertIn(f"process {self.pid()} takes every new call", said)
        self.assertNotEqual(self.pid(), process.pid)
        settings.write_text("nonsense")
        said, status = await self.takeover(f"--pidfile={self.state}/pid")
        self.assertEqual(status, 1, said)
        self.assertIn(f"the take-over failed, process {self.pid()} continues", said)
        self.assertIn("gateway.toml", said)
        settings.write_text("")
        # The outcome is not known within the time limit.
        said, status = await self.takeover("--timeout=0.3")
        self.assertEqual(status, 2, said)
        self.assertIn("no outcome within 0.3 s", said)
        await self.until(lambda: self.pid() == self.successors(twistd)[-1])

    async def test_each_of_several_simultaneous_commands_gets_an_outcome(self) -> None:
        """Whether its take-over is in progress already, or follows."""
        _, process = await self.gateway()
        process.signalProcess(signal.SIGUSR2)
        asking = (Deferred.fromCoroutine(self.takeover()) for _ in range(2))
        for said, status in await gatherResults(list(asking)):
            self.assertEqual(status, 0, said)
            self.assertIn(" takes every new call", said)

    async def test_it_reports_a_gateway_that_it_does_not_find(self) -> None:
        said, status = await self.takeover()
        self.assertEqual(
            (status, "no such gateway is running" in said), (1, True), said
        )
        said, status = await self.takeover("--pidfile=/no/such/file")
        self.assertEqual((status, "--pidfile /no/such" in said), (1, True), said)
        twistd, process = await self.gateway(CHIMEGW_INSTANCE="one")
        said, status = await self.takeover("--instance=two")
        self.assertEqual(
            (status, "no such gateway is running" in said), (1, True), said
        )
        # A process that has crashed, whose pid another process may have.
        os.kill(process.pid, signal.SIGKILL)
        await self.ended(twistd)
        self.assertTrue(list(Path(self.state).glob("process-*.json")))
        said, status = await self.takeover()
        self.assertEqual(
            (status, "no such gateway is running" in said), (1, True), said
        )

    async def test_with_several_gateways_one_must_be_named(self) -> None:
        await self.gateway(CHIMEGW_INSTANCE="one")
        (self.state / "pid").unlink()
        await self.gateway(CHIMEGW_INSTANCE="two")
        said, status = await self.takeover()
        self.assertEqual((status, "--instance: one, two" in said), (1, True), said)
        before = self.pid()
        said, status = await self.takeover("--instance=two")
        self.assertEqual(status, 0, said)
        self.assertNotEqual(self.pid(), before)
