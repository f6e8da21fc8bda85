"""Which deployments a probe asks, for whom, and what is known afterwards."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents import deployments as module
from chime_gateway.agents.credentials import ApiKey
from chime_gateway.agents.deployments import Deployment, Deployments
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.interfaces import AgentSession
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings, Limits
from tests.support.fakes import Log, RecordingAgent, RecordingMeasures

DEFAULT, SALES, NIGHT = (AgentProfile(name=name) for name in ("a", "sales", "night"))


class ProbeTests(SynchronousTestCase):
    """
    @ivar attempts: the deployment of each, and who waits for its session.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[tuple[str, Deferred[AgentSession]]] = []
        self.patch(module, "connect", self.connect)
        self.agents = Deployments(
            [
                Deployment(
                    DeploymentSettings(
                        name=name, endpoint="https://r.example", deployment=name
                    ),
                    ApiKey("key"),
                )
                for name in ("one", "two")
            ],
            reactor=self.clock,
            clock=self.clock,
            endpoint=lambda url: None,  # type: ignore[arg-type,return-value]
            limits=Limits(),
            chance=lambda: 0.5,
            measures=RecordingMeasures(),
        )
        self.probe = self.agents.probe

    def connect(self, url: str, *others: Any) -> Deferred[AgentSession]:
        ready: Deferred[AgentSession] = Deferred()
        self.attempts.append((url.partition("model=")[2], ready))
        return ready

    def answer(self, at: int) -> Log:
        """@return: what is done with the session."""
        log: Log = []
        self.attempts[at][1].callback(RecordingAgent(log))
        return log

    def refuse(self, at: int, why: AgentUnavailable) -> None:
        self.attempts[at][1].errback(why)

    def asked(self) -> list[str]:
        return [name for name, _ in self.attempts]

    def states(self) -> list[str]:
        return list(self.agents.health.states().values())

    def test_the_first_that_answers_is_asked_for_the_other_profiles(self) -> None:
        self.probe.ask([DEFAULT, SALES, NIGHT], is_first=True)
        self.assertEqual(self.asked(), ["one", "two"])
        self.assertTrue(self.probe.is_open)
        self.assertEqual(self.answer(1), [("agent.close",)])
        # A caller is served now, though one deployment has not answered yet.
        self.assertFalse(self.probe.is_open)
        self.refuse(0, AgentUnavailable("503"))
        self.assertEqual(self.asked(), ["one", "two", "two"])
        self.answer(2)
        self.assertEqual(self.asked(), ["one", "two", "two", "two"])
        self.answer(3)
        self.assertEqual(len(self.attempts), 4)
        self.assertEqual(self.states(), ["resting", "usable"])

    def test_one_that_refuses_a_profile_has_answered(self) -> None:
        self.probe.ask([DEFAULT, SALES], is_first=True)
        for at in (0, 1):
            self.refuse(at, ProfileRefused("no such voice"))
        self.assertFalse(self.probe.is_open)
        self.assertEqual(self.asked(), ["one", "two", "one"])
        self.answer(2)
        self.assertEqual(self.states(), ["usable", "usable"])
        self.assertEqual(self.agents.health.profile_faults(), {"a": "no such voice"})

    def test_where_none_answers_the_question_is_settled_as_well(self) -> None:
        self.probe.ask([DEFAULT, SALES], is_first=True)
        for at in (0, 1):
            self.refuse(at, HandshakeRefused(401, "wrong key", None))
        self.assertFalse(self.probe.is_open)
        self.assertEqual(self.asked(), ["one", "two"])
        self.assertEqual(self.states(), ["misconfigured", "misconfigured"])

    def test_a_silent_one_is_waited_for_as_long_as_a_caller_would(self) -> None:
        self.probe.ask([DEFAULT], is_first=True)
        self.clock.advance(Limits().agent_connect_seconds - 0.1)
        self.assertTrue(self.probe.is_open)
        self.clock.advance(0.2)
        self.assertFalse(self.probe.is_open)
        self.assertEqual(self.states(), ["resting", "resting"])

    def test_one_that_rests_is_not_asked(self) -> None:
        self.probe.ask([DEFAULT], is_first=True)
        self.refuse(0, HandshakeRefused(429, "later", 60.0))
        self.answer(1)
        self.probe.ask([DEFAULT], is_first=False)
        self.assertFalse(self.probe.is_open)
        self.assertEqual(self.asked(), ["one", "two", "two"])

    def test_stopped_in_between_it_asks_nothing_more_and_blames_nobody(self) -> None:
        self.probe.ask([DEFAULT, SALES], is_first=True)
        self.answer(0)
        self.probe.stop()
        self.assertFalse(self.probe.is_open)
        self.assertEqual(self.asked(), ["one", "two"])
        self.assertEqual(self.states(), ["usable", "usable"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
