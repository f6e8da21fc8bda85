"""Strangers are refused before a session with the model is opened."""

from __future__ import annotations

import time

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.carriers.media_stream.credentials import sign_token
from tests.integration.harness import GatewayTestCase

SECRET = "a-secret-of-good-length"


class AuthTests(GatewayTestCase):
    settings = evolve(GatewayTestCase.settings, shared_secret=SECRET)

    async def refused(self, path: str, **headers: str) -> str:
        try:
            await self.dial(path, **headers)
        except ConnectionRefusedError as exc:
            return str(exc)
        self.fail(f"{path} let a stranger in")

    def test_wrong_credentials_are_refused_at_the_door(self) -> Deferred[None]:
        async def scene() -> None:
            old = sign_token(SECRET, int(time.time()) - 1)
            for path, headers, status in (
                ("/stream", {"Authorization": "Bearer wrong"}, "403"),
                ("/stream", {"X_Gateway_Secret": "wrong"}, "403"),
                (f"/stream?token={old}", {}, "403"),
                ("/stream/raw", {}, "401"),
                ("/stream/raw", {"Authorization": "Bearer wrong"}, "403"),
            ):
                self.assertIn(f"[{status}]", await self.refused(path, **headers))
            self.assertEqual(self.simulator.handshakes, [])

        return Deferred.fromCoroutine(scene())

    def test_good_credentials_open_a_session(self) -> Deferred[None]:
        async def scene() -> None:
            token = sign_token(SECRET, int(time.time()) + 60)
            for path, headers in (
                ("/stream", {"Authorization": f"Bearer {SECRET}"}),
                ("/stream/raw", {"X_Gateway_Secret": SECRET}),
                (f"/stream?token={token}", {}),
                (f"/stream/raw?token={token}", {}),
            ):
                peer = await self.dial(path, **headers)
                peer.start()
            await self.until(lambda: len(self.simulator.sessions) == 4)

        return Deferred.fromCoroutine(scene())

    def test_a_token_may_travel_in_start(self) -> Deferred[None]:
        async def scene() -> None:
            bad = await self.dial()
            bad.start(customParameters={"token": "v1.1.x"})
            self.assertEqual((await bad.closed)[0], 4401)
            none = await self.dial()
            none.start()
            self.assertEqual((await none.closed)[0], 4401)
            self.assertEqual(self.simulator.handshakes, [])
            token = sign_token(SECRET, int(time.time()) + 60)
            good = await self.dial()
            good.start(customParameters={"token": token})
            await self.until(lambda: self.simulator.sessions)

        return Deferred.fromCoroutine(scene())


class WithoutSecretTests(GatewayTestCase):
    def test_a_web_page_of_another_origin_is_refused(self) -> Deferred[None]:
        async def scene() -> None:
            try:
                await self.dial(Origin="https://evil.test")
            except ConnectionRefusedError as exc:
                self.assertIn("[403]", str(exc))
            else:
                self.fail("let in")
            self.assertEqual(self.simulator.handshakes, [])

        return Deferred.fromCoroutine(scene())
