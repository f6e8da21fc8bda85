"""A full gateway tells callers in words, and carriers and balancers in status codes."""

from __future__ import annotations

from base64 import b64decode

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.errors import ConfigError
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.sound import Sound
from chime_gateway.settings.values import DeploymentSettings, GatewaySettings
from tests.integration.harness import GatewayTestCase, Peer

#: Half a second of a distinctive sound.
SORRY = Sound("sorry.wav", 8000, 1, 2, b"\x00\x30\x00\xd0" * 2000)


#: Its length as G.711.
SORRY_BYTES = 4000

PROFILE = AgentProfile(apology="sorry.wav", apology_sound=SORRY)


def heard_bytes(peer: Peer) -> int:
    media = [m["media"] for m in peer.messages if m["event"] == "media"]
    return sum(len(b64decode(one["payload"])) for one in media)


class ApologyTestCase(GatewayTestCase):
    limits = GatewayTestCase.limits
    settings = evolve(GatewayTestCase.settings, agents={"default": PROFILE})

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        return evolve(super().gateway_settings(endpoint), limits=self.limits)

    async def caller(self) -> Peer:
        peer = await self.dial()
        peer.start()
        return peer

    async def joined(self) -> Peer:
        peer = await self.caller()
        await self.until(lambda: self.simulator.sessions)
        return peer


class FullTests(ApologyTestCase):
    limits = evolve(GatewayTestCase.limits, max_calls=1, max_apologies=1)

    def test_a_refused_caller_hears_the_apology_without_a_session(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            first = await self.joined()
            second = await self.caller()
            await self.until(lambda: heard_bytes(second))
            # Only one apology is played at a time.
            third = await self.dial()
            self.assertEqual((await third.closed), (4429, "full: max_calls is 1"))
            for message in list(second.messages):
                if message["event"] == "mark":
                    second.say("mark", mark=message["mark"])
            self.assertEqual((await second.closed), (4429, "full: max_calls is 1"))
            self.assertEqual(heard_bytes(second), SORRY_BYTES)
            self.assertEqual(len(self.simulator.sessions), 1)
            self.assertEqual(first.state, first.STATE_OPEN)
            text = (await self.get("/metrics"))[1]
            self.assertIn('chimegw_refusals_total{reason="full"} 2.0', text)
            self.assertIn("chimegw_apologies_total 1.0", text)
            status, body = await self.get("/ready")
            self.assertEqual(status, 503)
            self.assertIn("max_calls", body)
            first.say("stop")
            await first.closed
            await self.until(lambda: not self.gateway.calls.calls())
            self.assertEqual((await self.get("/ready"))[0], 200)

        return Deferred.fromCoroutine(scene())


class OverloadTests(ApologyTestCase):
    refuses_when_busy = True
    limits = evolve(GatewayTestCase.limits, max_apologies=0)

    def test_an_upgrade_is_refused_and_a_running_call_goes_on(self) -> Deferred[None]:
        async def scene() -> None:
            first = await self.joined()
            load = self.gateway.calls.admission.load
            for _ in range(200):
                load.tick_was_late(1.0)
            await self.until(lambda: "late" in (load.fault() or ""))
            with self.assertRaises(ConnectionRefusedError) as raised:
                await self.dial()
            self.assertIn("503", str(raised.exception))
            status, body = await self.get("/ready")
            self.assertEqual(status, 503)
            self.assertIn("overloaded", body)
            self.assertEqual(first.state, first.STATE_OPEN)
            # The ticks of the running call are not late, so the overload ends.
            await self.until(lambda: load.fault() is None)
            await self.caller()
            await self.until(lambda: len(self.simulator.sessions) == 2)

        return Deferred.fromCoroutine(scene())


class NoDeploymentTests(ApologyTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        wrong = DeploymentSettings(
            name="sim", endpoint=endpoint, deployment="sim", api_key="wrong"
        )
        return evolve(self.settings, deployments=(wrong,))

    async def told(self) -> int:
        peer = await self.dial()
        peer.start()
        code, _ = await peer.closed
        self.assertEqual(code, 4502)
        return heard_bytes(peer)

    def test_the_caller_hears_the_apology(self) -> Deferred[None]:
        async def scene() -> None:
            self.assertEqual(await self.told(), SORRY_BYTES)

        return Deferred.fromCoroutine(scene())

    def test_a_reload_changes_the_apology(self) -> Deferred[None]:
        short = evolve(SORRY, data=SORRY.data[:3200])
        profile = evolve(PROFILE, apology_sound=short)

        def wrong() -> GatewaySettings:
            raise ConfigError("agents.default.apology: there is no file gone.wav")

        async def scene() -> None:
            settings = self.gateway._settings
            new = evolve(settings, agents={"default": profile})
            self.gateway._read_again = lambda: new
            await self.gateway.reload()
            self.assertEqual(await self.told(), 1600)
            self.gateway._read_again = wrong
            await self.gateway.reload()
            self.assertEqual(await self.told(), 1600)

        return Deferred.fromCoroutine(scene())
