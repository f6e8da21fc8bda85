"""The deployments are probed before the first call."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings, GatewaySettings
from tests.integration.harness import KEY, GatewayTestCase


class ProbeTests(GatewayTestCase):
    """
    A gateway that probes its deployments.

    @cvar key: the gateway's key.
    """

    key = KEY
    profiles = (AgentProfile(), AgentProfile(name="sales", voice="cedar"))

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        deployments = tuple(
            DeploymentSettings(
                name=name, endpoint=endpoint, deployment=name, api_key=self.key
            )
            for name in ("one", "two")
        )
        agents = {profile.name: profile for profile in self.profiles}
        return evolve(
            self.settings, deployments=deployments, agents=agents, probes=True
        )

    def state(self) -> tuple[int, Any]:
        status, content = self.gateway.ready(is_known=True)
        return status, content.get("reason", "")

    def states(self) -> set[str]:
        return set(self.gateway.composition.agents.health.states().values())

    def test_their_state_is_known_without_a_call(self) -> Deferred[None]:
        async def scene() -> None:
            status, reason = self.state()
            self.assertEqual(status, 503)
            self.assertIn("probed for the first time", reason)
            await self.until(lambda: self.state() == (200, ""))
            # One for each deployment, and one for the other profile.
            await self.until(lambda: len(self.simulator.sessions) == 3)
            await self.until(
                lambda: all(one.is_over for one in self.simulator.sessions)
            )
            self.assertEqual(self.states(), {"usable"})

        return Deferred.fromCoroutine(scene())


class WrongKeyTests(ProbeTests):
    key = "another"

    def test_their_state_is_known_without_a_call(self) -> Deferred[None]:
        async def scene() -> None:
            await self.until(lambda: self.states() == {"misconfigured"})
            status, reason = self.state()
            self.assertEqual(status, 503)
            self.assertIn("401", reason)
            self.assertIn("one", reason)

        return Deferred.fromCoroutine(scene())


class WrongVoiceTests(ProbeTests):
    profiles = (AgentProfile(), AgentProfile(name="sales", voice="nobody"))

    def test_their_state_is_known_without_a_call(self) -> Deferred[None]:
        """One of two profiles is wrong: calls of the other one work."""

        async def scene() -> None:
            health = self.gateway.composition.agents.health
            await self.until(lambda: "sales" in health.profile_faults())
            self.assertIn("nobody", health.profile_faults()["sales"])
            self.assertEqual(self.state()[0], 200)
            _, content = self.gateway.ready(is_known=True)
            self.assertIn("sales", content["agents"])

        return Deferred.fromCoroutine(scene())


class UnavailableTests(ProbeTests):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        return super().gateway_settings("http://127.0.0.1:1")

    def test_their_state_is_known_without_a_call(self) -> Deferred[None]:
        async def scene() -> None:
            await self.until(lambda: not self.gateway.composition.agents.probe.is_open)
            self.assertEqual(self.state()[0], 503)

        return Deferred.fromCoroutine(scene())


class StoppedTests(ProbeTests):
    def test_their_state_is_known_without_a_call(self) -> Deferred[None]:
        """Stopped during the probes: nothing is left, and no failure is counted."""

        async def scene() -> None:
            self.gateway.composition.agents.stop()
            await self.until(lambda: not self.gateway.composition.agents.probe.is_open)
            self.assertEqual(self.states(), {"usable"})

        return Deferred.fromCoroutine(scene())
