"""The API of a running gateway, with calls in progress and calls that are over."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import wave
from typing import Any, cast

import treq
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers

from chime_gateway.call.tools.transfer_call import TransferCall
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import Target
from chime_gateway.settings.values import (
    AwsSettings,
    GatewaySettings,
    RecordingSettings,
    StoreSettings,
)
from tests.integration.harness import GatewayTestCase, Peer
from tests.support.files import temporary_folder

TOKEN = "admin-token-0123456789"


class ApiTestCase(GatewayTestCase):
    def setUp(self) -> None:
        self.state = temporary_folder(self)
        super().setUp()
        self.pool = HTTPConnectionPool(self.reactor, persistent=False)

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        settings = super().gateway_settings(endpoint)
        return evolve(
            settings,
            admin_token=TOKEN,
            agents={
                "default": AgentProfile(
                    tools=(TransferCall(),),
                    targets={"office": Target(address="+15559999")},
                )
            },
            store=StoreSettings(
                database_url=f"sqlite:///{self.state}/calls.sqlite",
                state_directory=str(self.state),
                instance="me",
            ),
            recordings=RecordingSettings(location=str(self.state / "recordings")),
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        raw: bytes | None = None,
        **headers: str,
    ) -> tuple[int, Any, Any]:
        """The status, the JSON (or text) and the headers."""
        sent: dict[bytes | str, bytes | str] = {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        response = await treq.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            data=data,
            headers=sent,
            pool=self.pool,
        )
        content = await response.content()
        kind = response.headers.getRawHeaders("content-type", [""])[0]
        if "json" in kind:
            content = json.loads(content)
        return response.code, content, response.headers

    async def call(self, *capabilities: str) -> tuple[Peer, str]:
        store = self.gateway.kept.store
        assert store is not None
        await self.until(lambda: store.keeper.is_open)
        peer = await self.dial()
        parameters = {"from": "+15550001", "to": "+15550002"}
        peer.start(customParameters=parameters, capabilities=list(capabilities))
        await self.until(lambda: self.live_ids() - self.known)
        (call_id,) = self.live_ids() - self.known
        self.known = self.known | {call_id}
        call = self.gateway.calls.call(call_id)
        await self.until(lambda: call.record.answered_seconds is not None)
        return peer, call_id

    known: frozenset[str] = frozenset()

    def live_ids(self) -> frozenset[str]:
        return frozenset(c.record.call_id for c in self.gateway.calls.calls())

    async def stored(self, call_id: str) -> Any:
        """The call, when its end is in the store."""
        while True:
            status, call, _ = await self.ask("GET", f"/api/calls/{call_id}")
            if status == 200 and call["state"] == "ended":
                return call
            await self.pause(0.05)


class AccessTests(ApiTestCase):
    def test_without_the_token_nobody_gets_in(self) -> Deferred[None]:
        async def scene() -> None:
            for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1]):
                for method, path in (
                    ("GET", "/api/calls"),
                    ("POST", "/api/calls/x/hang-up"),
                    ("GET", "/api/events"),
                    ("GET", "/api/nothing"),
                ):
                    status, problem, headers = await self.ask(method, path, token=token)
                    self.assertEqual(status, 401)
                    self.assertEqual(problem["status"], 401)
                    kind = headers.getRawHeaders("content-type")
                    self.assertEqual(kind, ["application/problem+json"])
                    self.assertEqual(
                        headers.getRawHeaders("www-authenticate"), ["Bearer"]
                    )

        return Deferred.fromCoroutine(scene())

    def test_without_a_token_set_the_api_is_shut(self) -> Deferred[None]:
        async def scene() -> None:
            api = self.gateway._api()
            api._context.token = ""
            self.gateway.site.resource.putChild(b"api", api)
            status, problem, _ = await self.ask("GET", "/api/calls")
            self.assertEqual(status, 403)
            self.assertIn("CHIMEGW_ADMIN_TOKEN", problem["detail"])

        return Deferred.fromCoroutine(scene())

    def test_the_description_needs_no_token(self) -> Deferred[None]:
        async def scene() -> None:
            status, described, _ = await self.ask(
                "GET", "/api/openapi.json", token=None
            )
            self.assertEqual((status, described["openapi"]), (200, "3.1.0"))

        return Deferred.fromCoroutine(scene())

    def test_requests_that_cannot_be_are_told_why(self) -> Deferred[None]:
        async def scene() -> None:
            _, call_id = await self.call()
            say = f"/api/calls/{call_id}/say"
            for arguments, status, word in (
                (("POST", say, {"text": ""}), 422, "text"),
                (("POST", say, {"words": "x"}), 422, "text"),
                (("POST", say, {"text": "x", "loud": True}), 422, "loud"),
                (("POST", say, ["x"]), 422, "object"),
                (("GET", say), 405, "GET"),
                (("GET", "/api/calls?limit=many"), 422, "integer"),
                (("GET", "/api/calls?limit=0"), 422, "limit"),
                (("GET", "/api/calls?colour=red"), 422, "colour"),
                (("GET", "/api/calls?state=asleep"), 422, "state"),
                (("GET", "/api/calls?cursor=xxxx"), 404, "cursor"),
                (("GET", "/api/calls?caller=%00"), 422, "caller"),
                (("GET", "/api/calls/nobody"), 404, "nobody"),
                (("GET", "/api/calls/a%20b"), 404, "id"),
                (("POST", "/api/calls/nobody/say", {"text": "x"}), 404, "nobody"),
                (("GET", "/api/else"), 404, "openapi"),
                (("POST", "/api/calls", {"to": "911"}), 422, "to"),
                (("POST", "/api/calls", {"to": "+1555", "agent": "x"}), 404, "'x'"),
                (("POST", "/api/calls", {"to": "+15551234"}), 409, "sip.trunk"),
            ):
                answer = await self.ask(*arguments)
                self.assertEqual(answer[0], status, arguments)
                self.assertIn(word, answer[1]["detail"])
            status, problem, _ = await self.ask("POST", say, raw=b"{")
            self.assertEqual(status, 415)
            for raw, expected in (
                (b"{", 400),
                (b"[" * 60_000, 400),
                (b"x" * 70_000, 413),
                (b"x" * 20_000_000, 413),
            ):
                status, problem, _ = await self.ask(
                    "POST", say, raw=raw, Content_Type="application/json"
                )
                self.assertEqual((status, problem["status"]), (expected, expected))

        return Deferred.fromCoroutine(scene())


class CallsTests(ApiTestCase):
    def test_a_call_is_seen_while_it_lives_and_after(self) -> Deferred[None]:
        async def scene() -> None:
            peer, call_id = await self.call()
            _, page, _ = await self.ask("GET", "/api/calls?state=live")
            (shown,) = page["calls"]
            self.assertEqual((shown["call_id"], shown["state"]), (call_id, "live"))
            self.assertEqual(shown["caller"], "+15550001")
            page = {"calls": []}
            while not page["calls"]:
                _, page, _ = await self.ask("GET", "/api/calls")
            (shown,) = page["calls"]
            self.assertEqual((shown["call_id"], shown["state"]), (call_id, "live"))
            # More than the store knows of it.
            self.assertGreater(shown["duration_seconds"], 0)
            self.assertNotIn("transcript", shown)
            _, call, _ = await self.ask("GET", f"/api/calls/{call_id}")
            self.assertEqual(call["transcript"], [])
            peer.say("stop")
            call = await self.stored(call_id)
            self.assertEqual(call["outcome"], "completed")
            self.assertEqual(call["record"]["agent_profile"], "default")
            _, page, _ = await self.ask("GET", "/api/calls?outcome=completed")
            self.assertEqual([c["call_id"] for c in page["calls"]], [call_id])
            status, audio, headers = await self.ask(
                "GET", f"/api/calls/{call_id}/audio"
            )
            self.assertEqual((status, audio[:4], audio[8:12]), (200, b"RIFF", b"WAVE"))
            self.assertEqual(headers.getRawHeaders("content-type"), ["audio/wav"])
            with wave.open(io.BytesIO(audio)) as file:
                self.assertEqual(file.getnchannels(), 2)
                self.assertGreater(file.getnframes(), 0)

        return Deferred.fromCoroutine(scene())

    def test_pages_follow_each_other(self) -> Deferred[None]:
        async def scene() -> None:
            for _ in range(5):
                peer, call_id = await self.call()
                peer.say("stop")
                await self.stored(call_id)
            seen: list[str] = []
            cursor = ""
            while cursor is not None:
                query = f"&cursor={cursor}" if cursor else ""
                _, page, _ = await self.ask("GET", f"/api/calls?limit=2{query}")
                seen += [call["call_id"] for call in page["calls"]]
                cursor = page["next"]
            self.assertEqual(len(seen), 5)
            self.assertEqual(set(seen), self.known)

        return Deferred.fromCoroutine(scene())

    def test_hanging_up_twice_is_told(self) -> Deferred[None]:
        async def scene() -> None:
            peer, call_id = await self.call()
            path = f"/api/calls/{call_id}/hang-up"
            status, done, _ = await self.ask("POST", path, {"reason": "test"})
            self.assertEqual((status, done["done"]), (200, "hung up"))
            self.assertEqual(await peer.closed, (1000, "test"))
            await self.stored(call_id)
            status, problem, _ = await self.ask("POST", path, {})
            self.assertEqual((status, problem["detail"]), (409, "the call has ended"))

        return Deferred.fromCoroutine(scene())

    def test_a_transfer_goes_through_the_carrier_and_says_how_it_went(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            peer, call_id = await self.call("transfer", "hangup")
            path = f"/api/calls/{call_id}/transfer"
            waiting = Deferred.fromCoroutine(
                self.ask("POST", path, {"target": "office"})
            )
            wanted = await self.message(peer, "transfer")
            self.assertEqual(wanted["transfer"]["target"], "+15559999")
            busy = {"id": wanted["transfer"]["id"], "ok": False, "reason": "busy"}
            peer.say("transferred", transfer=busy)
            status, problem, _ = await waiting
            self.assertEqual(status, 409)
            self.assertIn("busy", problem["detail"])
            waiting = Deferred.fromCoroutine(
                self.ask("POST", path, {"target": "+15551234"})
            )
            wanted = await self.message(peer, "transfer")
            gone = {"id": wanted["transfer"]["id"], "ok": True}
            peer.say("transferred", transfer=gone)
            status, done, _ = await waiting
            self.assertEqual((status, done["done"]), (200, "transferred"))
            hangup = await self.message(peer, "hangup")
            self.assertEqual(hangup["hangup"]["outcome"], "transferred")
            call = await self.stored(call_id)
            self.assertEqual(call["outcome"], "transferred")
            outcomes = [t["outcome"] for t in call["record"]["transfers"]]
            self.assertEqual(outcomes, ["failed", "transferred"])

        return Deferred.fromCoroutine(scene())

    async def message(self, peer: Peer, event: str) -> Any:
        def found() -> list[Any]:
            return [m for m in peer.messages if m.get("event") == event]

        await self.until(found)
        message = found()[0]
        peer.messages.clear()
        return message

    def test_a_target_that_does_not_exist(self) -> Deferred[None]:
        async def scene() -> None:
            _, call_id = await self.call()
            status, problem, _ = await self.ask(
                "POST", f"/api/calls/{call_id}/transfer", {"target": "the moon"}
            )
            self.assertEqual(status, 404)
            self.assertIn("office", problem["detail"])

        return Deferred.fromCoroutine(scene())

    def test_the_agent_is_told_and_speaks(self) -> Deferred[None]:
        async def scene() -> None:
            peer, call_id = await self.call()
            status, _, _ = await self.ask(
                "POST", f"/api/calls/{call_id}/say", {"text": "We close soon."}
            )
            self.assertEqual(status, 200)
            await self.message(peer, "media")
            status, _, _ = await self.ask(
                "POST", f"/api/calls/{call_id}/instruct", {"text": "Be brief."}
            )
            self.assertEqual(status, 200)
            log = self.simulator.sessions[0].log
            await self.until(lambda: "conversation.item.create" in log.commands)
            status, _, _ = await self.ask(
                "POST", f"/api/calls/{call_id}/digits", {"digits": "1"}
            )
            self.assertEqual(status, 409)
            for action in ("pause", "resume"):
                status, _, _ = await self.ask(
                    "POST", f"/api/calls/{call_id}/recording", {"action": action}
                )
                self.assertEqual(status, 200)

        return Deferred.fromCoroutine(scene())

    def test_a_call_is_placed_once_by_the_application(self) -> Deferred[None]:
        placed: list[Any] = []

        class Control:
            async def create_call(self, *arguments: Any) -> str:
                placed.append(arguments)
                return f"tx-{len(placed)}"

            def stop(self) -> None:
                """Nothing is under way."""

        async def scene() -> None:
            self.gateway.control = cast(Any, Control())
            aws = AwsSettings(from_number="+12065550100")
            self.gateway._settings = evolve(self.gateway._settings, aws=aws)
            body = {"to": "+15551234", "parameters": {"order": "7"}}
            for _ in range(2):
                status, answer, _ = await self.ask(
                    "POST", "/api/calls", body, Idempotency_Key="once"
                )
                self.assertEqual(status, 202)
                self.assertEqual(answer["transaction_id"], "tx-1")
            ((number, to, arguments),) = placed
            self.assertEqual((number, to), ("+12065550100", "+15551234"))
            self.assertEqual(arguments["agent"], "default")
            self.assertEqual(json.loads(arguments["context"]), {"order": "7"})
            self.gateway.calls.drain()
            status, problem, _ = await self.ask("POST", "/api/calls", body)
            self.assertEqual((status, problem["detail"]), (503, "draining"))

        return Deferred.fromCoroutine(scene())

    def test_events_come_live_and_those_missed_again(self) -> Deferred[None]:
        async def scene() -> None:
            peer, call_id = await self.call()
            response = await treq.get(
                f"http://127.0.0.1:{self.port}/api/events?call_id={call_id}&after=0",
                headers=Headers({"Authorization": [f"Bearer {TOKEN}"]}),
                pool=self.pool,
                unbuffered=True,
            )
            text: list[bytes] = []
            over = treq.collect(response, text.append)
            await self.until(lambda: b"call.answered" in b"".join(text))
            peer.say("stop")
            await self.until(lambda: b"call.ended" in b"".join(text))
            lines = b"".join(text).decode().splitlines()
            kinds = [line[7:] for line in lines if line.startswith("event: ")]
            self.assertEqual(kinds, ["call.started", "call.answered", "call.ended"])
            data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
            self.assertEqual({d["call_id"] for d in data}, {call_id})
            self.gateway.kept.live.close()
            await over

        return Deferred.fromCoroutine(scene())

    def test_a_store_that_is_away_is_told_and_live_calls_are_seen(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            from sqlalchemy.exc import OperationalError

            def away(*_: Any) -> None:
                raise OperationalError("select", {}, ConnectionError("away"))

            _, call_id = await self.call()
            assert self.gateway.kept.store is not None
            self.patch(self.gateway.kept.store.database, "calls", away)
            status, _, headers = await self.ask("GET", "/api/calls")
            self.assertEqual(status, 503)
            self.assertEqual(headers.getRawHeaders("retry-after"), ["5"])
            status, page, _ = await self.ask("GET", "/api/calls?state=live")
            self.assertEqual([c["call_id"] for c in page["calls"]], [call_id])

        return Deferred.fromCoroutine(scene())


class SchemaTests(ApiTestCase):
    timeout = 300

    def test_schemathesis_finds_nothing(self) -> Deferred[None]:
        """Generated requests, good and bad, against the running service."""

        async def scene() -> None:
            peer, call_id = await self.call()
            peer.say("stop")
            await self.stored(call_id)
            await self.call("hangup", "dtmf")
            command = [
                *(sys.executable, "-m", "schemathesis.cli", "run"),
                f"http://127.0.0.1:{self.port}/api/openapi.json",
                *("--header", f"Authorization: Bearer {TOKEN}"),
                *("--max-examples", "20", "--seed", "1", "--workers", "1"),
                # A stream that does not end is no answer that it could judge.
                *("--exclude-path", "/api/events", "--no-color"),
                *("--generation-database", "none"),
            ]
            done = await deferToThread(
                subprocess.run,
                command,
                capture_output=True,
                text=True,
                cwd=str(self.state),
                env={**os.environ, "NO_COLOR": "1"},
                timeout=280,
            )
            said = done.stdout[-6000:] + done.stderr[-2000:]
            self.assertEqual(done.returncode, 0, said)
            self.assertIn("passed", said)

        return Deferred.fromCoroutine(scene())
