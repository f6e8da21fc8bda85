"""Stored calls when the gateway dies, its settings change, or its database fails."""

from __future__ import annotations

import json
import os
import signal
import wave
from pathlib import Path
from typing import Any, cast

import numpy as np
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.caller.dial import place_call
from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import CallRow
from tests.integration.twistd import Twistd, TwistdTestCase
from tests.support import postgres
from tests.support.files import temporary_folder
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase

#: The approximate duration; see tests/run.py.
seconds = 50


class Receiver(Protocol):
    """Accepts webhooks, or refuses them."""

    def connectionMade(self) -> None:
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if not found or len(body) < length:
            return
        self.data = b""
        factory: Any = self.factory
        status = b"503 Down" if factory.is_down else b"200 OK"
        if not factory.is_down:
            factory.taken.append(json.loads(body))
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")


class KeptTestCase(TwistdTestCase):
    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.recordings = temporary_folder(self)
        self.config = self.state / "gateway.toml"
        self.env = {
            "CHIMEGW_RECORDINGS": str(self.recordings),
            "CHIMEGW_INSTANCE": "test",
        }
        self.receiver = cast(Any, Factory.forProtocol(Receiver))
        self.receiver.taken = []
        self.receiver.is_down = False
        port = self.reactor.listenTCP(0, self.receiver, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.hook = f"http://127.0.0.1:{port.getHost().port}/hook"
        self.write('greeting = "Hello"')

    def write(self, profile: str) -> None:
        self.config.write_text(
            f"[agents.default]\n{profile}\n[webhooks.crm]\nurl = '{self.hook}'\n"
        )

    async def start(self) -> tuple[Twistd, Any]:
        words = ("--simulate", "--port", "0", "--config", str(self.config))
        return await self.run_twistd(*words, **self.env)

    async def stop(self, twistd: Twistd, process: Any) -> None:
        process.signalProcess("TERM")
        await twistd.ended.addErrback(lambda _: None)

    async def until(self, is_so: Any, seconds: float = 40.0) -> None:
        deadline = self.reactor.seconds() + seconds
        while not is_so():
            if self.reactor.seconds() > deadline:
                self.fail(f"not within {seconds} s")
            await deferLater(self.reactor, 0.02)

    def call(self, twistd: Twistd, *utterances: bytes) -> Deferred[Any]:
        plan = CallPlan(utterances=utterances)
        url = f"ws://127.0.0.1:{twistd.port()}/stream"
        return place_call(url, plan, PCMU, reactor=self.reactor)

    def rows(self, **query: Any) -> list[CallRow]:
        database = Database(f"sqlite:///{self.state}/chimegw.sqlite", self.state)
        try:
            return database.calls(CallQuery(limit=500, **query))
        finally:
            database.close()

    def read(self, path: str | Path) -> Any:
        with wave.open(str(path), "rb") as file:
            data = file.readframes(file.getnframes())
            self.assertEqual(file.getframerate(), 8000)
        return np.frombuffer(data, "<i2").reshape(-1, 2)


class CrashTests(KeptTestCase):
    def test_a_killed_gateway_leaves_a_record_and_a_recording_of_each_call(
        self,
    ) -> Deferred[None]:
        count = 10

        async def scene() -> None:
            twistd, process = await self.start()
            calling = [self.call(twistd, phrase(PCMU, *LONG)) for _ in range(count)]
            await self.until(lambda: twistd.text.count("call.answered") == count)
            await deferLater(self.reactor, 3.0)
            os.kill(process.pid, signal.SIGKILL)
            await twistd.ended.addErrback(lambda _: None)
            self.assertEqual(len(self.rows(state="live")), count)
            twistd, process = await self.start()
            await self.until(lambda: len(self.rows(outcome="gateway_lost")) == count)
            rows = self.rows()
            self.assertEqual(len(rows), count)
            for row in rows:
                self.assertGreater(row.duration_seconds or 0.0, 0)
                samples = self.read(row.recording)
                # At least two of the three seconds.
                self.assertGreater(len(samples), 8000 * 2)
                self.assertGreater(np.abs(samples[:, 0]).max(), 1000)
            self.assertEqual(list(self.recordings.glob("*/*.part")), [])
            await self.until(
                lambda: (
                    sum(h["type"] == "call.ended" for h in self.receiver.taken) == count
                )
            )
            ended = [h for h in self.receiver.taken if h["type"] == "call.ended"]
            outcomes = {h["data"]["outcome"] for h in ended}
            self.assertEqual(outcomes, {"gateway_lost"})
            await gatherResults(calling)
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())


class WebhookTests(KeptTestCase):
    def test_a_restart_and_an_unavailable_receiver_lose_nothing(self) -> Deferred[None]:
        async def scene() -> None:
            self.receiver.is_down = True
            twistd, process = await self.start()
            report = await self.call(twistd, phrase(PCMU, *SHORT))
            self.assertEqual(len(report.answer_latencies), 1)
            await self.until(lambda: "call.ended" in twistd.text)
            await self.stop(twistd, process)
            self.assertEqual(self.receiver.taken, [])
            self.receiver.is_down = False
            twistd, process = await self.start()
            await self.until(
                lambda: (
                    self.receiver.taken
                    and self.receiver.taken[-1]["type"] == "call.ended"
                )
            )
            kinds = [hook["type"] for hook in self.receiver.taken]
            self.assertEqual(kinds[:2], ["call.started", "call.answered"])
            self.assertEqual(kinds.count("turn.completed"), len(kinds) - 3)
            numbers = [hook["number"] for hook in self.receiver.taken]
            self.assertEqual(numbers, sorted(set(numbers)))
            last = self.receiver.taken[-1]["data"]
            self.assertEqual(last["outcome"], "completed")
            self.assertTrue(last["recording"].endswith(".wav"))
            speakers = [turn["speaker"] for turn in last["transcript"]]
            self.assertEqual(set(speakers), {"caller", "agent"})
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())


class RecordingTests(KeptTestCase):
    def test_both_sides_are_recorded_as_they_were_heard(self) -> Deferred[None]:
        async def scene() -> None:
            self.write("greeting = ''")
            twistd, process = await self.start()
            said = phrase(PCMU, *SHORT)
            report = await self.call(twistd, said)
            await self.until(lambda: self.rows(state="ended"))
            (row,) = self.rows()
            await self.until(lambda: Path(row.recording).exists())
            samples = self.read(row.recording)
            words = decode(PCMU, said)
            score, caller_at = correlation(words, samples[:, 0])
            self.assertGreater(score, 0.99)
            score, agent_at = correlation(words, samples[:, 1])
            self.assertGreater(score, 0.99)
            # With the same delays as the caller heard them.
            heard = decode(PCMU, report.heard)
            _, heard_at = correlation(words, heard)
            _, said_at = correlation(words, decode(PCMU, report.said))
            lag = (agent_at - caller_at) / 8000
            self.assertApproximates(lag, (heard_at - said_at) / 8000, 0.1)
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())


class ReloadTests(KeptTestCase):
    def test_sighup_changes_agents_and_a_broken_file_is_rejected(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            twistd, process = await self.start()
            running = self.call(twistd, phrase(PCMU, *LONG))
            await self.until(lambda: "call.answered" in twistd.text)
            self.write('greting = "Hello"')
            process.signalProcess("HUP")
            await self.until(lambda: "reload rejected" in twistd.text)
            self.assertIn("unknown key greting", twistd.text)
            self.write('greeting = "Good evening"\n[agents.sales]\nvoice = "cedar"')
            process.signalProcess("HUP")
            await self.until(lambda: "settings reloaded" in twistd.text)
            plan = CallPlan(
                utterances=(phrase(PCMU, *SHORT),), parameters={"agent": "sales"}
            )
            url = f"ws://127.0.0.1:{twistd.port()}/stream"
            report = await place_call(url, plan, PCMU, reactor=self.reactor)
            self.assertEqual(len(report.answer_latencies), 1)
            report = await running
            self.assertEqual(len(report.answer_latencies), 1)
            self.assertNotIn("only after a restart", twistd.text)
            with self.config.open("a") as file:
                file.write("[limits]\nmax_calls = 7\nmax_strangers = 77\n")
            process.signalProcess("HUP")
            said = "only after a restart: limits.max_strangers"
            await self.until(lambda: said in twistd.text)
            self.assertNotIn(f"{said},", twistd.text)
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())


class PostgresTests(KeptTestCase):
    if postgres.MISSING:
        skip = postgres.MISSING

    def test_an_unavailable_database_loses_nothing(self) -> Deferred[None]:
        async def scene() -> None:
            server = postgres.Postgres()
            self.addCleanup(server.close)
            url = server.new_database()
            self.env["CHIMEGW_DATABASE_URL"] = url
            twistd, process = await self.start()
            await self.call(twistd, phrase(PCMU, *SHORT))
            server.stop()
            reports = await gatherResults(
                [self.call(twistd, phrase(PCMU, *SHORT)) for _ in range(5)]
            )
            self.assertEqual([len(r.answer_latencies) for r in reports], [1] * 5)
            await self.until(lambda: twistd.text.count("call.ended") == 6)
            await self.until(lambda: "records wait on this machine" in twistd.text)
            server.start()
            database = Database(url, self.state)
            self.addCleanup(database.close)

            def ended() -> int:
                return len(database.calls(CallQuery(state="ended", limit=100)))

            await self.until(lambda: ended() == 6)

            def told() -> list[str]:
                return [
                    hook["call_id"]
                    for hook in self.receiver.taken
                    if hook["type"] == "call.ended"
                ]

            await self.until(lambda: len(told()) == 6)
            self.assertEqual(len(set(told())), 6)
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())

    def test_a_gateway_starts_without_its_database(self) -> Deferred[None]:
        async def scene() -> None:
            server = postgres.Postgres()
            self.addCleanup(server.close)
            url = server.new_database()
            server.stop()
            self.env["CHIMEGW_DATABASE_URL"] = url
            twistd, process = await self.start()
            report = await self.call(twistd, phrase(PCMU, *SHORT))
            self.assertEqual(len(report.answer_latencies), 1)
            # It can also stop, and leaves its entries to the next one.
            await self.stop(twistd, process)
            server.start()
            twistd, process = await self.start()
            database = Database(url, self.state)
            self.addCleanup(database.close)

            def ended() -> bool:
                try:
                    return len(database.calls(CallQuery(state="ended"))) == 1
                except Exception:
                    return False  # there are no tables yet

            await self.until(ended)
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())
