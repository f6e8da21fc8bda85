"""Stored calls and API answers while several processes are one gateway."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from chime_gateway.audio import PCMU
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.dial import place_call
from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery
from tests.integration.harness import ADMIN_TOKEN, Page
from tests.integration.takeover_harness import TakeOverTestCase
from tests.integration.test_kept import KeptTestCase
from tests.integration.twistd import Twistd
from tests.support import postgres
from tests.whole_calls.test_media_stream import LONG, phrase

#: Checks no audio quality and starts programs, so it may be slow; see tests/run.py.
gives_way = True
seconds = 65


class Stream(Protocol):
    """A listener for events."""

    def __init__(self) -> None:
        self.data = b""
        self.is_over = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.is_over = True


class KeptByAllTests(TakeOverTestCase, KeptTestCase):  # type: ignore[misc]
    def url(self) -> str:
        return f"sqlite:///{self.state}/chimegw.sqlite"

    def setUp(self) -> None:
        super().setUp()
        self.database_url = self.url()
        self.env |= {
            "CHIMEGW_ADMIN_TOKEN": ADMIN_TOKEN,
            "CHIMEGW_DATABASE_URL": self.database_url,
        }

    async def begin(self) -> Twistd:
        twistd, _ = await self.gateway("--config", str(self.config), **self.env)
        return twistd

    async def api(
        self, twistd: Twistd, method: str, path: str, body: Any = None
    ) -> Any:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", twistd.port() or 0)
        page: Any = await endpoint.connect(Factory.forProtocol(Page))
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.0\r\nHost: x\r\n"
            f"Authorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: {len(data)}\r\n"
            "Content-Type: application/json\r\n\r\n"
        )
        page.transport.write(head.encode() + data)
        text = (await page.done).decode()
        head, _, content = text.partition("\r\n\r\n")
        if "text/plain" in head:
            return content
        return int(head.split()[1]), json.loads(content)

    async def listen(self, twistd: Twistd) -> Stream:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", twistd.port() or 0)
        stream: Any = await endpoint.connect(Factory.forProtocol(Stream))
        shown = f"Authorization: Bearer {ADMIN_TOKEN}"
        head = f"GET /api/events HTTP/1.1\r\nHost: x\r\n{shown}\r\n\r\n"
        stream.transport.write(head.encode())
        await self.until(lambda: b"live events" in stream.data)
        self.addCleanup(stream.transport.abortConnection)
        return stream  # type: ignore[no-any-return]

    def talk(self, twistd: Twistd) -> Deferred[Any]:
        """Place a call that goes on until it is ended."""
        plan = CallPlan(utterances=(phrase(PCMU, *LONG),) * 40)
        url = f"ws://127.0.0.1:{twistd.port()}/stream"
        return place_call(url, plan, PCMU, reactor=self.reactor)

    async def live(self, twistd: Twistd) -> dict[str, Any]:
        _, page = await self.api(twistd, "GET", "/api/calls?state=live")
        return dict(page)

    def stored(self) -> dict[str, Any]:
        database = Database(self.database_url, self.state)
        try:
            return {row.call_id: row for row in database.calls(CallQuery(limit=100))}
        finally:
            database.close()

    def ends(self) -> Counter[str]:
        """Count how often each call's end was delivered."""
        return Counter(
            hook["call_id"]
            for hook in self.receiver.taken
            if hook["type"] == "call.ended"
        )

    async def three(self, twistd: Twistd) -> tuple[list[int], list[Deferred[Any]]]:
        """Make three processes, each with a call."""
        pids, calls = [self.pid()], [self.talk(twistd)]
        await self.until_count(twistd, "call.answered", 1)
        for number in (2, 3):
            pids.append(await self.take_over(twistd))
            await self.until(lambda: self.pid() == pids[-1])
            calls.append(self.talk(twistd))
            await self.until_count(twistd, "call.answered", number)
        for one in calls:
            one.addErrback(lambda _: None)
        return pids, calls

    def test_the_newest_answers_for_all(self) -> Deferred[None]:
        async def scene() -> None:
            twistd = await self.begin()
            before = await self.listen(twistd)
            pids, calls = await self.three(twistd)
            # Listeners of the old process were disconnected.
            self.assertTrue(before.is_over)
            page = await self.live(twistd)
            self.assertNotIn("unanswered", page)
            by_start = sorted(page["calls"], key=lambda row: row["started_at"])
            self.assertEqual(len({row["generation"] for row in by_start}), 3)
            # A record is written to the database a moment after its call.
            await self.until(lambda: len(self.stored()) == 3)
            _, everything = await self.api(twistd, "GET", "/api/calls")
            self.assertEqual(len(everything["calls"]), 3)
            _, health = await self.api(twistd, "GET", "/health")
            self.assertEqual(health["calls_active"], 3)
            self.assertEqual(sorted(health["calls_of_older"].values()), [1, 1])
            metrics = await self.api(twistd, "GET", "/metrics")
            for row in by_start[:2]:
                label = f'{{generation="{row["generation"]}",carrier="websocket"}}'
                self.assertIn(f"chimegw_calls_active{label} 1.0", metrics)
            stream = await self.listen(twistd)
            ids = [row["call_id"] for row in by_start]
            for number, call_id in enumerate(ids):
                where = f"/api/calls/{call_id}"
                status, shown = await self.api(twistd, "GET", where)
                self.assertEqual((status, shown["state"]), (200, "live"))
                self.assertEqual(shown["generation"], by_start[number]["generation"])
                said = {"text": "It takes a moment."}
                status, _ = await self.api(twistd, "POST", f"{where}/say", said)
                self.assertEqual(status, 200)
                status, problem = await self.api(twistd, "POST", f"{where}/say", {})
                self.assertEqual(status, 422)
                nowhere = {"target": "nobody"}
                status, problem = await self.api(
                    twistd, "POST", f"{where}/transfer", nowhere
                )
                self.assertEqual((status, problem["status"]), (404, 404))
                status, done = await self.api(twistd, "POST", f"{where}/hang-up", {})
                self.assertEqual(status, 200, done)
                await calls[number]
                self.assertEqual((await self.api(twistd, "GET", where))[0], 200)
            await self.until(lambda: stream.data.count(b"event: call.ended") == 3)
            await self.until(lambda: sum(self.ends().values()) == 3)
            self.assertEqual(self.ends(), Counter(ids))
            rows = self.stored()
            self.assertEqual({rows[call_id].state for call_id in ids}, {"ended"})
            outcomes = {rows[call_id].outcome for call_id in ids}
            self.assertNotIn("gateway_lost", outcomes)
            # The older processes end without calls; their records are complete.
            await self.until(lambda: not any(map(is_there, pids[:2])))
            await self.until(lambda: len(list(self.state.glob("journal-*"))) == 2)
            self.assertEqual(len(list(self.recordings.glob("*/*.part"))), 0)
            self.assertNotIn("Traceback", twistd.text)

        return Deferred.fromCoroutine(scene())

    def test_a_killed_process_in_the_middle_loses_its_own_calls_only(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            twistd = await self.begin()
            pids, calls = await self.three(twistd)
            page = await self.live(twistd)
            ids = [
                row["call_id"]
                for row in sorted(page["calls"], key=lambda row: row["started_at"])
            ]
            # The oldest hangs: this is reported, and no request waits long.
            os.kill(pids[0], signal.SIGSTOP)
            began = self.reactor.seconds()
            page = await self.live(twistd)
            self.assertLess(self.reactor.seconds() - began, 10.0)
            self.assertEqual(len(page["unanswered"]), 1)
            where = f"/api/calls/{ids[0]}"
            status, problem = await self.api(twistd, "POST", f"{where}/hang-up", {})
            self.assertEqual(status, 503, problem)
            _, shown = await self.api(twistd, "GET", where)
            self.assertEqual(shown["unanswered"], page["unanswered"])
            os.kill(pids[0], signal.SIGCONT)
            os.kill(pids[1], signal.SIGKILL)
            await self.until(lambda: self.stored()[ids[1]].outcome == "gateway_lost")
            await self.until(lambda: self.ends()[ids[1]] == 1)
            for call_id in (ids[0], ids[2]):
                self.assertEqual(self.stored()[call_id].state, "live")
                where = f"/api/calls/{call_id}/hang-up"
                status, _ = await self.api(twistd, "POST", where, {})
                self.assertEqual(status, 200)
            await calls[0]
            await calls[2]
            await self.until(lambda: sum(self.ends().values()) == 3)
            await deferLater(self.reactor, 1.0)
            self.assertEqual(self.ends(), Counter(ids))
            self.assertNotIn("Traceback", twistd.text)

        return Deferred.fromCoroutine(scene())


class PostgresTests(KeptByAllTests):
    if postgres.MISSING:
        skip = postgres.MISSING

    def url(self) -> str:
        return postgres.server().new_database()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
