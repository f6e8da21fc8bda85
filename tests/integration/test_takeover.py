"""A new process takes every new call, and the old one keeps its own calls."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone

from tests.integration.takeover_harness import (
    FAILED,
    LIMITS,
    TAKEN,
    LongCall,
    TakeOverTestCase,
)
from tests.integration.twistd import Twistd

#: Checks no audio quality and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 75


class TakeOverTests(TakeOverTestCase):
    async def probe(self, twistd: Twistd, seen: list[str], until: Any) -> None:
        """Open new connections one after the other; each must be answered."""
        while not until():
            page = await self.ask(twistd.port())
            seen.append(page["generation"])
            self.assertEqual(page["status"], "ok")

    async def test_no_call_is_lost_and_new_connections_are_always_answered(
        self,
    ) -> None:
        """Three generations at once, each with a call that goes on."""
        twistd, _ = await self.gateway()
        port, pids = twistd.port(), [self.pid()]
        seen: list[str] = []
        is_over = False
        probing = [
            Deferred.fromCoroutine(self.probe(twistd, seen, lambda: is_over))
            for _ in range(2)
        ]
        calls: list[LongCall] = []
        for _ in range(2):
            calls.append(self.long_call(port))
            await self.until_count(twistd, "call.answered", len(calls))
            pids.append(await self.take_over(twistd))
            await self.until(lambda: self.pid() == pids[-1])
        calls.append(self.long_call(port))
        reports = await gatherResults([call.end() for call in calls])
        is_over = True
        await gatherResults(probing)
        for report in reports:
            self.assert_whole(report)
        # A process that has a successor answers no new connection.
        changes = [a for a, b in pairwise(seen) if a != b]
        self.assertEqual(len(dict.fromkeys(seen)), 3)
        self.assertLessEqual(len(changes), 2 + len(probing))
        os.kill(self.pid(), signal.SIGTERM)
        self.assertIsInstance(await self.ended(twistd), ProcessDone)
        self.assertFalse((self.state / "pid").exists())
        self.assertNotIn("Traceback", twistd.text)
        endings = [e for e in twistd.events() if e["event"].startswith("call.ended")]
        self.assertEqual([e["outcome"] for e in endings], ["completed"] * 3)
        # They share one log, in which each line names its process.
        self.assertEqual({e["process"] for e in endings}, set(seen))
        self.assertEqual(
            {e.get("process", "") for e in twistd.events()} - {""}, set(seen)
        )

    async def test_an_old_connection_is_answered_and_closed(self) -> None:
        """
        A request on a connection that was opened before the take-over is answered.
        """
        twistd, _ = await self.gateway()
        connection = await self.keep_open(twistd.port())
        await self.take_over(twistd)
        connection.transport.write(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        text = await connection.ended
        self.assertIn(b'"status": "ready"', text)
        self.assertIn(b"Connection: close", text)

    async def test_a_lost_process_is_replaced_by_its_predecessor(self) -> None:
        twistd, process = await self.gateway()
        call = self.long_call(twistd.port())
        await self.until_it_says(twistd, "call.answered")
        before = await self.ask(twistd.port())
        newer = await self.take_over(twistd)
        os.kill(newer, signal.SIGKILL)
        await self.until_it_says(twistd, "this process takes them again")
        after = await self.ask(twistd.port())
        self.assertEqual(after["generation"], before["generation"])
        self.assertEqual(self.pid(), process.pid)
        self.assert_whole(await self.call(twistd.port()))
        self.assert_whole(await call.end())
        # It can have another successor.
        await self.take_over(twistd)
        self.assert_whole(await self.call(twistd.port()))

    async def test_stopping_the_newest_process_stops_the_gateway(self) -> None:
        """Calls of the old process are drained like those of the new one."""
        config = self.state / "gateway.toml"
        config.write_text(f"{LIMITS}drain_seconds = 1\n")
        twistd, _ = await self.gateway("--config", str(config))
        calls = [self.long_call(twistd.port())]
        await self.until_it_says(twistd, "call.answered")
        await self.take_over(twistd)
        calls.append(self.long_call(twistd.port()))
        await self.until_count(twistd, "call.answered", 2)
        os.kill(self.pid(), signal.SIGTERM)
        reports = await gatherResults([call.over for call in calls])
        self.assertEqual([r.error for r in reports], [""] * 2)
        self.assertIsInstance(await self.ended(twistd), ProcessDone)
        endings = [e for e in twistd.events() if e["event"].startswith("call.ended")]
        self.assertEqual([e["outcome"] for e in endings], ["drained"] * 2)

    async def test_callers_at_the_time_limit_hear_a_goodbye(self) -> None:
        config = self.state / "gateway.toml"
        config.write_text(f"{LIMITS}takeover_drain_seconds = 1\n")
        twistd, process = await self.gateway("--config", str(config))
        call = self.long_call(twistd.port())
        await self.until_it_says(twistd, "call.answered")
        await self.take_over(twistd)
        report = await call.over
        self.assertEqual(report.error, "")
        await self.until(lambda: process.pid is None)
        (ended,) = (e for e in twistd.events() if e["event"].startswith("call.ended"))
        self.assertEqual(ended["outcome"], "drained")

    async def test_one_take_over_at_a_time(self) -> None:
        twistd, process = await self.gateway()
        process.signalProcess(signal.SIGUSR2)
        await self.until_it_says(twistd, "a successor was started")
        for count in (1, 2):
            process.signalProcess(signal.SIGUSR2)
            await self.until_count(twistd, "no take-over: one is in progress", count)
        await self.until_it_says(twistd, TAKEN)
        self.assertEqual(len(self.successors(twistd)), 1)

    async def test_stopped_during_a_take_over_it_stops(self) -> None:
        twistd, process = await self.gateway()
        process.signalProcess(signal.SIGUSR2)
        await self.until_it_says(twistd, "a successor was started")
        process.signalProcess(signal.SIGTERM)
        self.assertIsInstance(await self.ended(twistd), ProcessDone)
        self.assertNotIn(TAKEN, twistd.text)

    async def test_stopping_the_successor_cancels_the_take_over(self) -> None:
        twistd, process = await self.gateway()
        process.signalProcess(signal.SIGUSR2)
        await self.until_it_says(twistd, "a successor was started")
        os.kill(self.successors(twistd)[0], signal.SIGTERM)
        await self.until_it_says(twistd, FAILED)
        self.assertEqual(self.pid(), process.pid)
        self.assert_whole(await self.call(twistd.port()))

    async def keep_open(self, port: int | None) -> Any:
        connection = await self.connect(port)
        connection.transport.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await self.until(lambda: b"generation" in connection.data)
        return connection
