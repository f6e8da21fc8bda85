"""Databases of a newer version, or frozen ones, under a running gateway."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory

from chime_gateway.audio import PCMU
from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.tables import REVISION
from tests.integration.harness import ADMIN_TOKEN, Page
from tests.integration.test_kept import KeptTestCase
from tests.integration.twistd import Twistd
from tests.support import postgres
from tests.whole_calls.test_media_stream import SHORT, phrase

#: Checks no audio quality and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 60


class FaultTestCase(KeptTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.env["CHIMEGW_ADMIN_TOKEN"] = ADMIN_TOKEN

    async def get(
        self, twistd: Twistd, path: str, token: str = ADMIN_TOKEN
    ) -> tuple[int, dict[str, Any]]:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", twistd.port() or 0)
        protocol: Any = await endpoint.connect(Factory.forProtocol(Page))
        shown = f"Authorization: Bearer {token}\r\n"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{shown}\r\n"
        protocol.transport.write(head.encode())
        text = (await protocol.done).decode()
        head, _, body = text.partition("\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    async def says(self, twistd: Twistd, path: str, word: str) -> tuple[int, str]:
        """Wait until a page contains a word."""
        deadline = self.reactor.seconds() + 40.0
        while True:
            status, page = await self.get(twistd, path)
            text = json.dumps(page)
            if word in text:
                return status, text
            if self.reactor.seconds() > deadline:
                self.fail(f"{path} says {text}")
            await self.nap()

    async def nap(self) -> None:
        from twisted.internet.task import deferLater

        await deferLater(self.reactor, 0.1)

    async def talk(self, twistd: Twistd) -> None:
        report = await self.call(twistd, phrase(PCMU, *SHORT))
        self.assertEqual(len(report.answer_latencies), 1)


class NewerTests(FaultTestCase):
    def schema(self, revision: str) -> None:
        with sqlite3.connect(self.state / "chimegw.sqlite", timeout=20) as connection:
            connection.execute("UPDATE alembic_version SET version_num=?", [revision])
        connection.close()

    def test_a_rollback_loses_no_record(self) -> Deferred[None]:
        async def scene() -> None:
            database = Database(f"sqlite:///{self.state}/chimegw.sqlite", self.state)
            database.migrate()
            database.close()
            self.schema("0009")
            twistd, process = await self.start()
            status, page = await self.says(twistd, "/ready", "0009")
            self.assertEqual(status, 503)
            self.assertIn(REVISION, page)
            status, seen = await self.get(twistd, "/ready", token="wrong")
            self.assertEqual(status, 503)
            self.assertEqual(seen["reason"], "the database is another's")
            self.assertEqual(seen["store"], "away")
            await self.talk(twistd)
            await self.until(lambda: "call.ended" in twistd.text)
            await self.stop(twistd, process)
            self.assertIn("records wait on this machine", twistd.text)
            self.assertNotIn("Traceback", twistd.text)
            journal = self.state / "journal-test.jsonl"
            self.assertIn(b'"closed"', journal.read_bytes())
            self.schema(REVISION)
            twistd, process = await self.start()
            await self.until(lambda: len(self.rows(state="ended")) == 1)
            await self.until(lambda: not journal.exists())
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())

    def test_an_upgrade_by_another_gateway_loses_no_record(self) -> Deferred[None]:
        async def scene() -> None:
            twistd, process = await self.start()
            await self.talk(twistd)
            await self.until(lambda: len(self.rows(state="ended")) == 1)
            self.schema("0009")
            status, _ = await self.says(twistd, "/ready", "0009")
            # During a rolling upgrade the calls of the older gateway go on.
            self.assertEqual(status, 200)
            await self.talk(twistd)
            await self.until(lambda: twistd.text.count("call.ended") == 2)
            self.assertEqual(len(self.rows(state="ended")), 1)
            self.schema(REVISION)
            await self.until(lambda: len(self.rows(state="ended")) == 2)
            await self.stop(twistd, process)
            self.assertNotIn("Traceback", twistd.text)

        return Deferred.fromCoroutine(scene())


class FrozenTests(FaultTestCase):
    if postgres.MISSING:
        skip = postgres.MISSING

    def test_a_frozen_database_is_reported_within_seconds(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            server = postgres.Postgres()
            self.addCleanup(server.close)
            url = self.env["CHIMEGW_DATABASE_URL"] = server.new_database()
            twistd, process = await self.start()
            await self.talk(twistd)
            _, health = await self.get(twistd, "/health")
            self.assertEqual(health["store"], "ok")
            server.freeze()
            began = self.reactor.seconds()
            await self.says(twistd, "/health", "away")
            self.assertLess(self.reactor.seconds() - began, 15.0)
            await self.talk(twistd)
            await self.until(lambda: twistd.text.count("call.ended") == 2)
            _, health = await self.get(twistd, "/health")
            self.assertGreater(health["store_oldest_seconds"], 0)
            (journal,) = self.state.glob("journal-test@*.jsonl")
            await self.until(lambda: b'"closed"' in journal.read_bytes())
            server.thaw()
            await self.says(twistd, "/health", '"store": "ok"')
            database = Database(url, self.state)
            self.addCleanup(database.close)
            rows = database.calls(CallQuery(state="ended"))
            self.assertEqual(len({row.call_id for row in rows}), 2)
            await self.until(
                lambda: sum(h["type"] == "call.ended" for h in self.receiver.taken) >= 2
            )
            ids = [
                (h["call_id"], h["number"])
                for h in self.receiver.taken
                if h["type"] == "call.ended"
            ]
            self.assertEqual(len(set(ids)), 2)
            await self.stop(twistd, process)

        return Deferred.fromCoroutine(scene())
