from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents import deployments as module
from chime_gateway.agents.credentials import ApiKey
from chime_gateway.agents.deployments import RECHECK_SECONDS, Deployment, Deployments
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.audio import PCMU
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentSession
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings
from tests.support.fakes import RecordingAgent, RecordingCall, RecordingMeasures


class DeploymentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[tuple[str, dict[str, str]]] = []
        self.pending: list[Deferred[AgentSession]] = []
        self.measures = RecordingMeasures()
        self.patch(module, "connect", self.connect)

    def connect(self, url: str, headers: Any, *args: Any) -> Deferred[AgentSession]:
        self.attempts.append((url.partition("model=")[2], dict(headers)))
        self.pending.append(Deferred())
        return self.pending[-1]

    def agents(self, *names: str) -> Deployments:
        deployments = [
            Deployment(
                DeploymentSettings(
                    name=name,
                    endpoint="https://r.openai.azure.com",
                    deployment=name,
                    priority=-number,
                ),
                ApiKey(f"key-{name}"),
            )
            for number, name in enumerate(names)
        ]
        return Deployments(
            deployments,
            reactor=self.clock,
            clock=self.clock,
            endpoint=lambda url: None,  # type: ignore[arg-type,return-value]
            connect_seconds=15.0,
            jitter=lambda: 1.0,
            measures=self.measures,
        )

    def open(self, agents: Deployments) -> Deferred[AgentSession]:
        return agents.open(AgentProfile(), PCMU, RecordingCall([]))

    def names(self) -> list[str]:
        return [name for name, _ in self.attempts]

    def test_the_lowest_priority_number_is_tried_first_with_its_key(self) -> None:
        opening = self.open(self.agents("second", "first"))
        self.assertEqual(self.attempts, [("first", {"api-key": "key-first"})])
        self.clock.advance(0.4)
        agent = RecordingAgent([])
        self.pending[0].callback(agent)
        self.assertIs(self.successResultOf(opening), agent)
        self.assertEqual(self.measures.connects, [0.4])
        self.assertEqual(self.measures.sessions, ["opened"])

    def test_a_throttled_one_rests_and_the_next_takes_the_call(self) -> None:
        agents = self.agents("b", "a")
        opening = self.open(agents)
        self.pending[0].errback(HandshakeRefused(429, "429", 7.0))
        self.assertEqual(self.names(), ["a", "b"])
        self.pending[1].callback(RecordingAgent([]))
        self.successResultOf(opening)
        self.assertEqual(agents.states(), {"a": "resting", "b": "usable"})
        self.open(agents)
        self.assertEqual(self.names(), ["a", "b", "b"])
        self.clock.advance(7.0)
        self.open(agents)
        self.assertEqual(self.names(), ["a", "b", "b", "a"])
        self.assertIsNone(agents.fault())

    def test_the_only_one_is_tried_again_after_its_rest_each_longer(self) -> None:
        opening = self.open(self.agents("a"))
        for rest in (0.5, 1.0, 2.0):
            self.pending[-1].errback(AgentUnavailable("503"))
            tries = len(self.attempts)
            self.clock.advance(rest - 0.01)
            self.assertEqual(len(self.attempts), tries)
            self.clock.advance(0.02)
            self.assertEqual(len(self.attempts), tries + 1)
        self.pending[-1].callback(RecordingAgent([]))
        self.successResultOf(opening)

    def test_calls_that_fail_at_the_same_time_are_one_failure(self) -> None:
        agents = self.agents("a")
        openings = [self.open(agents) for _ in range(40)]
        for attempt in self.pending[:40]:
            attempt.errback(AgentUnavailable("503"))
        self.clock.advance(0.49)
        self.assertEqual(agents.states(), {"a": "resting"})
        self.clock.advance(0.02)
        self.assertEqual(agents.states(), {"a": "usable"})
        self.assertEqual(len(self.pending), 80)
        for opening in openings:
            opening.cancel()
            self.failureResultOf(opening)

    def test_the_longest_rest_that_a_round_was_asked_for_stands(self) -> None:
        agents = self.agents("a")
        for _ in range(2):
            self.open(agents).addErrback(lambda _: None)
        self.pending[0].errback(HandshakeRefused(429, "429", 20.0))
        self.pending[1].errback(AgentUnavailable("503"))
        self.clock.advance(19.9)
        self.assertEqual(agents.states(), {"a": "resting"})
        self.clock.advance(0.2)
        self.assertEqual(agents.states(), {"a": "usable"})

    def test_a_caller_does_not_wait_longer_than_the_time_for_connecting(self) -> None:
        opening = self.open(self.agents("a"))
        self.pending[0].errback(HandshakeRefused(429, "slow down", 60.0))
        failure = self.failureResultOf(opening, AgentUnavailable)
        self.assertEqual(str(failure.value), "slow down")
        self.assertEqual(self.flushWarnings(), [])

    def test_wrong_settings_are_not_retried_and_said(self) -> None:
        agents = self.agents("a")
        opening = self.open(agents)
        self.pending[0].errback(HandshakeRefused(401, "check the key", None))
        failure = self.failureResultOf(opening, AgentUnavailable)
        self.assertTrue(failure.value.misconfigured)
        self.assertEqual(agents.fault(), "a: check the key")
        self.failureResultOf(self.open(agents), AgentUnavailable)
        self.clock.advance(RECHECK_SECONDS - 1)
        self.failureResultOf(self.open(agents), AgentUnavailable)
        self.assertEqual(self.names(), ["a"])

    def test_after_a_while_a_mended_setting_is_found_out(self) -> None:
        agents = self.agents("a")
        opening = self.open(agents)
        self.pending[0].errback(HandshakeRefused(404, "no such deployment", None))
        self.failureResultOf(opening, AgentUnavailable)
        self.clock.advance(RECHECK_SECONDS)
        self.assertIsNone(agents.fault())
        self.open(agents)
        self.assertEqual(self.names(), ["a", "a"])

    def test_one_wrong_setting_leaves_the_others_ready(self) -> None:
        agents = self.agents("b", "a")
        self.open(agents)
        self.pending[0].errback(HandshakeRefused(401, "wrong", None))
        self.assertEqual(self.names(), ["a", "b"])
        self.assertIsNone(agents.fault())
        self.assertEqual(agents.states(), {"a": "misconfigured", "b": "usable"})

    def test_a_call_that_is_given_up_gives_the_attempt_up(self) -> None:
        opening = self.open(self.agents("a"))
        opening.addErrback(lambda _: None)
        opening.cancel()
        self.assertTrue(self.pending[0].called)
