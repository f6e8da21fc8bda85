"""The API of a running gateway, with live and past calls."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any, cast

import treq
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from chime_gateway.settings.aws import AwsSettings
from chime_gateway.settings.values import GatewaySettings
from tests.integration.api_harness import TOKEN, ApiTestCase
from tests.integration.harness import Peer

#: One second of audio.
SPEECH = bytes(range(256)) * 32

#: Checks no audio quality, so it may be slow; see tests/run.py.
gives_way = True


class CallsTests(ApiTestCase):
    def test_a_call_is_listed_while_live_and_afterwards(self) -> Deferred[None]:
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
            # Live data, which is not in the store.
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

    def test_the_recording_of_a_live_call_can_be_fetched(self) -> Deferred[None]:
        async def scene() -> None:
            peer, call_id = await self.call()
            path = f"/api/calls/{call_id}/audio"
            frames = [0]
            while len(set(frames)) < 3:
                peer.say("media", media={"payload": base64.b64encode(SPEECH).decode()})
                status, audio, headers = await self.ask("GET", path)
                if status == 404:
                    # Nothing has been written yet.
                    continue
                self.assertEqual(status, 200)
                with wave.open(io.BytesIO(audio)) as file:
                    count = file.getnframes()
                    # As many as the header says, even if more are written meanwhile.
                    self.assertEqual(len(file.readframes(count)), count * 4)
                    self.assertGreaterEqual(count, frames[-1])
                    frames.append(count)
            status, nothing, headers = await self.ask("HEAD", path)
            self.assertEqual((status, nothing), (200, b""))
            length = int(headers.getRawHeaders("content-length")[0])
            self.assertGreaterEqual(length, 44 + 4 * frames[-1])
            peer.say("stop")
            await self.stored(call_id)
            status, audio, _ = await self.ask("GET", path)
            self.assertEqual(status, 200)

        return Deferred.fromCoroutine(scene())

    def test_a_recording_in_s3_is_a_signed_link(self) -> Deferred[None]:
        async def scene() -> None:
            peer, call_id = await self.call()
            peer.say("stop")
            row = await self.stored(call_id)
            asked: list[tuple[str, str]] = []

            async def link(location: str, method: str) -> str:
                asked.append((location, method))
                return "https://s3.example/x?X-Amz-Signature=1"

            api: Any = self.gateway.site.resource.children[b"api"]
            api._context.recording_link = link
            (file,) = (self.state / "recordings").rglob("*.wav")
            file.unlink()
            for method in ("GET", "HEAD"):
                path = f"/api/calls/{call_id}/audio"
                status, _, headers = await self.ask(method, path)
                self.assertEqual(status, 307)
                where = headers.getRawHeaders("location")
                self.assertEqual(where, ["https://s3.example/x?X-Amz-Signature=1"])
            where = row["recording"]
            self.assertEqual(asked, [(where, "GET"), (where, "HEAD")])

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

    def test_a_second_hang_up_is_refused(self) -> Deferred[None]:
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

    def test_a_transfer_goes_through_the_carrier_and_returns_its_outcome(
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

    def test_orders_reach_the_agent_and_it_speaks(self) -> Deferred[None]:
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

    def test_events_arrive_live_and_missed_ones_are_repeated(self) -> Deferred[None]:
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
            self.gateway.call_storage.live.close()
            await over

        return Deferred.fromCoroutine(scene())

    def test_without_the_store_live_calls_are_still_listed(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            from sqlalchemy.exc import OperationalError

            def away(*_: Any) -> None:
                raise OperationalError("select", {}, ConnectionError("away"))

            _, call_id = await self.call()
            assert self.gateway.call_storage.store is not None
            self.patch(self.gateway.call_storage.store.database, "calls", away)
            status, _, headers = await self.ask("GET", "/api/calls")
            self.assertEqual(status, 503)
            self.assertEqual(headers.getRawHeaders("retry-after"), ["5"])
            status, page, _ = await self.ask("GET", "/api/calls?state=live")
            self.assertEqual([c["call_id"] for c in page["calls"]], [call_id])

        return Deferred.fromCoroutine(scene())


class OriginateTests(ApiTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        aws = AwsSettings(from_number="+12065550100")
        return evolve(super().gateway_settings(endpoint), aws=aws)

    def test_a_call_is_placed_once_by_the_application(self) -> Deferred[None]:
        placed: list[Any] = []

        class Control:
            async def create_call(self, *arguments: Any) -> str:
                placed.append(arguments)
                return f"tx-{len(placed)}"

        async def scene() -> None:
            self.gateway.composition.originator.control = cast(Any, Control())
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
