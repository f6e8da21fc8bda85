"""SIGHUP and renewed certificates, in a gateway with calls."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.threads import deferToThread

from chime_gateway.settings.values import GatewaySettings
from chime_gateway.sim.realtime.server import Door
from tests.integration.harness import GatewayTestCase, Peer
from tests.support.certificates import self_signed
from tests.support.files import temporary_folder

SECRET = "secret-of-streams-0123456789"
OTHER = "another-secret-of-streams-98765"


class RereadTests(GatewayTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        folder = temporary_folder(self)
        self.files = {name: folder / f"{name}.pem" for name in ("key", "certificate")}
        self.renew()
        key, certificate = self.files["key"], self.files["certificate"]
        over_tls = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        settings = super().gateway_settings(endpoint)
        self.new = evolve(
            settings,
            listen=(over_tls, *settings.listen),
            shared_secret=SECRET,
        )
        return self.new

    def setUp(self) -> None:
        super().setUp()
        self.gateway._read_again = lambda: self.new
        # Warnings of Twisted's endpoint parser.
        self.flushWarnings()

    def tearDown(self) -> Any:
        self.flushWarnings()
        return super().tearDown()

    def renew(self) -> str:
        pem = self_signed().decode()
        certificate, mark, key = pem.partition("-----BEGIN PRIVATE KEY")
        self.files["certificate"].write_text(certificate)
        self.files["key"].write_text(mark + key)
        return certificate.strip()

    async def shown(self) -> str:
        address: Any = self.gateway.ports[0].getHost()
        return str(
            await deferToThread(ssl.get_server_certificate, ("127.0.0.1", address.port))
        ).strip()

    async def call(self, secret: str) -> Peer:
        peer = await self.dial(Authorization=f"Bearer {secret}")
        peer.start()
        await self.until(lambda: self.simulator.sessions)
        return peer

    async def test_keys_and_secrets_change_and_calls_go_on(self) -> None:
        running = await self.call(SECRET)
        self.simulator.door = Door(api_keys=frozenset({"new-key"}))
        (deployment,) = self.new.deployments
        self.new = evolve(
            self.new,
            deployments=(evolve(deployment, api_key="new-key", tokens_per_minute=9),),
            shared_secret=OTHER,
            admin_token=OTHER,
        )
        await self.gateway.reload()
        with self.assertRaises(ConnectionRefusedError):
            await self.dial(Authorization=f"Bearer {SECRET}")
        before = len(self.simulator.sessions)
        await self.call(OTHER)
        await self.until(lambda: len(self.simulator.sessions) > before)
        self.assertEqual((await self.get("/metrics"))[0], 401)
        status, text = await self.get("/metrics", OTHER)
        self.assertEqual(status, 200)
        self.assertIn('_per_minute{deployment="sim",of="tokens"} 9.0', text)
        self.assertEqual((await self.get("/api/calls", OTHER))[0], 200)
        self.assertEqual((await self.get("/api/calls"))[0], 401)
        self.assertFalse(running.closed.called)

    async def test_limits_apply_to_the_next_call(self) -> None:
        running = await self.call(SECRET)
        before = self.new.limits
        limits = evolve(before, max_calls=1, max_strangers=64, drain_seconds=0.1)
        self.new = evolve(self.new, limits=limits)
        await self.gateway.reload()
        peer = await self.dial(Authorization=f"Bearer {SECRET}")
        peer.start()
        code, reason = await peer.closed
        self.assertEqual((code, "max_calls is 1" in str(reason)), (4429, True))
        self.assertFalse(running.closed.called)
        self.new = evolve(self.new, limits=before)
        await self.gateway.reload()
        await self.call(SECRET)
        await self.until(lambda: len(self.gateway.calls.calls()) == 2)

    async def test_a_removed_secret_does_not_open_the_gateway(self) -> None:
        self.new = evolve(self.new, shared_secret="", admin_token="")
        await self.gateway.reload()
        peer = await self.dial()
        peer.start()
        self.assertEqual((await peer.closed)[0], 4401)
        self.assertEqual((await self.get("/api/calls", ""))[0], 401)
        self.assertEqual((await self.get("/api/calls"))[0], 200)

    async def test_a_renewed_certificate_is_used_and_a_wrong_one_is_not(self) -> None:
        peer = await self.call(SECRET)
        before = await self.shown()
        now = self.renew()
        self.assertNotEqual(before, now)
        await self.gateway.reload()
        self.assertEqual(await self.shown(), now)
        good: dict[Path, str] = {p: p.read_text() for p in self.files.values()}
        self.renew()
        # Half of the new pair is missing.
        self.files["key"].write_text(good[self.files["key"]])
        await self.gateway.reload()
        self.assertEqual(await self.shown(), now)
        # No SIGHUP is needed.
        newest = self.renew()
        while await self.shown() != newest:
            await self.pause(0.1)
        self.assertFalse(peer.closed.called)
