"""Several deployments, some of them faulty: calls, and readiness."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import GatewaySettings, Limits
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.commands import CommandFault
from chime_gateway.sim.realtime.server import Door
from tests.integration.harness import GatewayTestCase, Peer

#: The approximate duration; see tests/run.py.
seconds = 12


class TwoDeployments(GatewayTestCase):
    """
    The deployment of the harness comes first.

    @ivar second: the second deployment, which is healthy.
    """

    limits = Limits(agent_connect_seconds=4.0, agent_hedge_seconds=0.3, idle_seconds=60)
    settings = evolve(
        GatewayTestCase.settings,
        limits=limits,
        agents={"default": AgentProfile(greeting="Hello.")},
    )

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        settings = super().gateway_settings(endpoint)
        self.second, second = self.new_second()
        return evolve(settings, deployments=(*settings.deployments, second))

    async def media(self, peer: Peer) -> None:
        """Wait until the caller hears the agent."""
        await self.until(lambda: any(m["event"] == "media" for m in peer.messages))

    async def twelve_calls(self) -> None:
        """Place twelve calls, and wait until all hear the agent."""
        for _ in range(12):
            (await self.dial()).start()
        for peer in self.peers:
            await self.media(peer)

    async def states(self) -> Any:
        return json.loads((await self.get("/health"))[1])["deployments"]


class SilentDeploymentTests(TwoDeployments):
    behaviour = Behaviour(silent_start=True)

    def test_simultaneous_calls_are_all_answered_despite_a_silent_deployment(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            await self.twelve_calls()
            self.assertEqual(len(self.second.sessions), 12)
            # When the fault is known, the next call does not try this deployment.
            await self.until(lambda: len(self.gateway.calls.calls()) == 12)
            while (await self.states())["sim"] == "usable":
                await self.pause(0.05)
            self.assertEqual((await self.get("/ready"))[0], 200)
            asked = len(self.simulator.handshakes)
            peer = await self.dial()
            peer.start()
            await self.media(peer)
            self.assertLessEqual(len(self.simulator.handshakes) - asked, 1)
            text = (await self.get("/metrics"))[1]
            self.assertIn('chimegw_deployment_hedges_total{deployment="second"}', text)

        return Deferred.fromCoroutine(scene())


class RestingDeploymentTests(GatewayTestCase):
    door = Door(refuse_status=429, retry_after_seconds=2)

    def test_not_ready_while_the_only_deployment_rests_then_ready_again(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            self.assertEqual((await self.get("/ready"))[0], 200)
            (await self.dial()).start()
            await self.until(lambda: self.simulator.handshakes)
            while (await self.get("/ready"))[0] == 200:
                await self.pause(0.01)
            status, body = await self.get("/ready")
            self.assertEqual(status, 503)
            self.assertIn("sim rests for", body)
            self.assertIn("HTTP 429", body)
            # The same call gets a session when the deployment accepts again.
            self.simulator.door = Door()
            await self.until(lambda: self.simulator.sessions)
            self.assertEqual((await self.get("/ready"))[0], 200)
            self.assertEqual(len(self.simulator.handshakes), 2)

        return Deferred.fromCoroutine(scene())


class RefusedProfileTests(GatewayTestCase):
    settings = evolve(
        GatewayTestCase.settings,
        agents={
            "default": AgentProfile(),
            "bad": AgentProfile(name="bad", voice="no-such-voice"),
        },
    )

    async def call(self, agent: str) -> Peer:
        peer = await self.dial()
        peer.start(customParameters={"agent": agent})
        return peer

    def test_a_wrong_voice_affects_calls_of_its_profile_only(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            for _ in range(3):
                good = await self.call("default")
                bad = await self.call("bad")
                self.assertEqual((await bad.closed)[0], 4502)
            await self.until(lambda: len(self.gateway.calls.calls()) == 3)
            self.assertEqual(good.state, good.STATE_OPEN)
            status, body = await self.get("/ready")
            self.assertEqual(status, 200)
            self.assertIn("no-such-voice", json.loads(body)["agents"]["bad"])
            agents = json.loads((await self.get("/ready", token=""))[1])["agents"]
            self.assertEqual(agents, {"bad": "its settings are refused"})
            states = json.loads((await self.get("/health"))[1])["deployments"]
            self.assertEqual(states, {"sim": "usable"})

        return Deferred.fromCoroutine(scene())


class PassingErrorTests(GatewayTestCase):
    """The first session's settings are refused because of a temporary error."""

    behaviour = Behaviour(
        refusals=[CommandFault.read("session.update:rate_limit_exceeded@1")],
    )

    def test_it_is_retried_after_a_moment(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.dial()
            peer.start()
            await self.until(lambda: self.simulator.sessions)
            self.simulator.behaviour = Behaviour()
            await self.until(lambda: len(self.simulator.sessions) == 2)
            await self.until(
                lambda: "session.update" in self.simulator.sessions[1].log.commands
            )
            self.assertEqual((await self.get("/ready"))[0], 200)
            self.assertEqual(peer.state, peer.STATE_OPEN)

        return Deferred.fromCoroutine(scene())


class UnresolvedNameTests(TwoDeployments):
    """The DNS servers of the first deployment's name never answer."""

    def setUp(self) -> None:
        released = threading.Event()
        self.addCleanup(released.set)
        of_system = socket.getaddrinfo

        def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
            if host == "silent.example":
                released.wait()
            return of_system(host, *rest, **more)

        self.patch(socket, "getaddrinfo", getaddrinfo)
        super().setUp()

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        settings = super().gateway_settings(endpoint)
        first, second = settings.deployments
        first = evolve(first, endpoint="http://silent.example")
        return evolve(settings, deployments=(first, second))

    def test_it_delays_neither_calls_nor_other_work_in_threads(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            await self.twelve_calls()
            # More than the reactor's threads, if name look-ups used them.
            for _ in range(12):
                await self.gateway.composition.in_thread(threading.get_ident)
            self.assertLessEqual(
                sum("names" in thread.name for thread in threading.enumerate()), 1
            )

        return Deferred.fromCoroutine(scene())
