"""Requests to the API: authentication, and refusals."""

from __future__ import annotations

import os
import subprocess
import sys

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from chime_gateway.settings.values import GatewaySettings
from tests.integration.api_harness import TOKEN, ApiTestCase

#: Checks no audio quality and sends thousands of requests, so it may be slow; see
#: tests/run.py.
gives_way = True
seconds = 35


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

    def test_the_description_needs_no_token(self) -> Deferred[None]:
        async def scene() -> None:
            status, described, _ = await self.ask(
                "GET", "/api/openapi.json", token=None
            )
            self.assertEqual((status, described["openapi"]), (200, "3.1.0"))

        return Deferred.fromCoroutine(scene())

    def test_invalid_requests_are_refused_with_a_reason(self) -> Deferred[None]:
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


class ShutTests(ApiTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        return evolve(super().gateway_settings(endpoint), admin_token="")

    def test_without_a_token_set_the_api_is_shut(self) -> Deferred[None]:
        async def scene() -> None:
            status, problem, _ = await self.ask("GET", "/api/calls")
            self.assertEqual(status, 403)
            self.assertIn("CHIMEGW_ADMIN_TOKEN", problem["detail"])

        return Deferred.fromCoroutine(scene())


class SchemaTests(ApiTestCase):
    timeout = 300

    def test_schemathesis_finds_nothing(self) -> Deferred[None]:
        """Send generated requests, valid and invalid ones, to the running service."""

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
                # It cannot check a stream that does not end.
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
