from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents import deployments as module
from chime_gateway.agents.chooser.breaker import RECHECK_SECONDS
from chime_gateway.agents.credentials import ApiKey
from chime_gateway.agents.deployments import Deployment, Deployments
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.audio import PCMU
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.interfaces import AgentSession
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings, Limits
from tests.support.fakes import RecordingAgent, RecordingCall, RecordingMeasures


class DeploymentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[tuple[str, dict[str, str]]] = []
        self.pending: list[Deferred[AgentSession]] = []
        self.sessions: list[Any] = []
        self.measures = RecordingMeasures()
        self.shortage: str | None = None
        self.patch(module, "connect", self.connect)

    def connect(self, url: str, headers: Any, *args: Any) -> Deferred[AgentSession]:
        self.sessions.append(args[0])
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
            limits=Limits(),
            chance=lambda: 0.999999,
            measures=self.measures,
            shortage=lambda: self.shortage,
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

    def test_tokens_of_all_responses_count_against_the_deployment_s_budget(
        self,
    ) -> None:
        agents = self.agents("a")
        self.open(agents)
        (session,) = self.sessions
        usage = {"input_tokens": 70, "output_tokens": 30, "total_tokens": 100}
        done = {"id": "r", "status": "completed", "output": [], "usage": usage}
        message = json.dumps({"type": "response.done", "response": done}).encode()
        session.message_received(message, False)
        # The call has another session, but this one still uses its budget.
        session.forget_call()
        session.message_received(message, False)
        counts = agents.health.budgets()["a"]
        self.assertEqual(counts, {"requests": (1, 0), "tokens": (200, 0)})

    def test_a_call_in_progress_may_exceed_the_budget_and_a_new_one_may_not(
        self,
    ) -> None:
        agents = self.agents("a")
        agents.health._choice.candidates[0].budget.change(1, 0)
        self.open(agents)
        # A minute is longer than a caller waits.
        failure = self.failureResultOf(self.open(agents), AgentUnavailable)
        self.assertIn("sessions were opened within a minute", str(failure.value))
        self.assertEqual(self.names(), ["a"])
        agents.open(AgentProfile(), PCMU, RecordingCall([]), is_running=True)
        self.assertEqual(self.names(), ["a", "a"])

    def test_a_throttled_deployment_rests_and_the_next_takes_the_call(self) -> None:
        agents = self.agents("b", "a")
        opening = self.open(agents)
        self.pending[0].errback(HandshakeRefused(429, "429", 7.0))
        self.assertEqual(self.names(), ["a", "b"])
        self.pending[1].callback(RecordingAgent([]))
        self.successResultOf(opening)
        self.assertEqual(agents.health.states(), {"a": "resting", "b": "usable"})
        self.open(agents)
        self.assertEqual(self.names(), ["a", "b", "b"])
        self.pending[2].callback(RecordingAgent([]))
        self.clock.advance(7.7)
        self.assertEqual(agents.health.states(), {"a": "half-open", "b": "usable"})
        self.open(agents)
        self.assertEqual(self.names(), ["a", "b", "b", "a"])

    def test_the_only_deployment_is_tried_again_after_ever_longer_rests(self) -> None:
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

    def test_after_a_rest_one_of_the_waiting_calls_is_the_probe(self) -> None:
        agents = self.agents("a")
        openings = [self.open(agents) for _ in range(40)]
        for attempt in self.pending[:40]:
            attempt.errback(AgentUnavailable("503"))
        self.clock.advance(0.51)
        self.assertEqual(len(self.pending), 41)
        self.pending[40].callback(RecordingAgent([]))
        self.successResultOf(openings[0])
        self.assertEqual(len(self.pending), 80)
        for attempt in self.pending[41:]:
            attempt.callback(RecordingAgent([]))
        for opening in openings[1:]:
            self.successResultOf(opening)

    def test_with_another_deployment_no_call_waits_for_the_probe(self) -> None:
        agents = self.agents("b", "a")
        self.open(agents)
        self.pending[0].errback(AgentUnavailable("503"))
        self.clock.advance(0.6)
        self.open(agents)
        self.open(agents)
        self.assertEqual(self.names(), ["a", "b", "a", "b"])

    def test_a_caller_does_not_wait_longer_than_the_time_for_connecting(self) -> None:
        opening = self.open(self.agents("a"))
        self.pending[0].errback(HandshakeRefused(429, "slow down", 60.0))
        failure = self.failureResultOf(opening, AgentUnavailable)
        self.assertEqual(str(failure.value), "slow down")
        self.assertEqual(self.flushWarnings(), [])

    # -- hedging ---------------------------------------------------------------

    def test_a_silent_deployment_is_overtaken_and_detected(self) -> None:
        agents = self.agents("b", "a")
        openings = [self.open(agents) for _ in range(24)]
        self.clock.advance(2.0)
        self.assertEqual(self.names(), ["a"] * 24 + ["b"] * 24)
        for attempt in self.pending[24:]:
            attempt.callback(RecordingAgent([]))
        for opening in openings:
            self.successResultOf(opening)
        # One attempt is followed to see whether it is only slow; the others are closed.
        self.assertEqual([a.called for a in self.pending[:24]], [False] + [True] * 23)
        self.assertEqual(agents.health.states(), {"a": "usable", "b": "usable"})
        self.clock.advance(5.5)
        self.assertEqual(agents.health.states(), {"a": "resting", "b": "usable"})
        self.assertEqual(agents.health.hedges, {"b": 24})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_slow_deployment_is_not_tried_first(self) -> None:
        agents = self.agents("c", "b", "a")
        first = self.open(agents)
        self.clock.advance(2.0)
        self.open(agents)
        self.assertEqual(self.names(), ["a", "b", "b"])
        self.pending[1].callback(RecordingAgent([]))
        self.successResultOf(first)
        self.open(agents)
        self.pending[0].callback(RecordingAgent([]))
        self.open(agents)
        self.assertEqual(self.names(), ["a", "b", "b", "b", "a"])

    def test_a_session_that_was_only_slow_is_closed_and_counts_as_success(self) -> None:
        agents = self.agents("b", "a")
        opening = self.open(agents)
        self.clock.advance(2.0)
        self.pending[1].callback(RecordingAgent([]))
        self.successResultOf(opening)
        log: list[Any] = []
        self.pending[0].callback(RecordingAgent(log))
        self.assertEqual(log, [("agent.close",)])
        self.assertEqual(agents.health.states(), {"a": "usable", "b": "usable"})
        self.assertEqual(self.measures.sessions, ["opened", "overtaken"])

    def test_the_first_deployment_may_still_win(self) -> None:
        agents = self.agents("b", "a")
        opening = self.open(agents)
        self.clock.advance(2.5)
        agent = RecordingAgent([])
        self.pending[0].callback(agent)
        self.assertIs(self.successResultOf(opening), agent)
        self.successResultOf(agents.stop())
        self.assertTrue(self.pending[1].called)
        self.assertEqual(agents.health.states(), {"a": "usable", "b": "usable"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_cancelled_call_cancels_its_attempts(self) -> None:
        agents = self.agents("b", "a")
        opening = self.open(agents)
        opening.addErrback(lambda _: None)
        self.clock.advance(2.0)
        opening.cancel()
        self.assertEqual([attempt.called for attempt in self.pending], [True, True])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(agents.health.states(), {"a": "usable", "b": "usable"})

    def test_a_bug_in_an_attempt_ends_the_search(self) -> None:
        agents = self.agents("b", "a")
        opening = self.open(agents)
        self.clock.advance(2.0)
        self.pending[0].errback(ZeroDivisionError())
        self.failureResultOf(opening, ZeroDivisionError)
        self.assertTrue(self.pending[1].called)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # -- faults ------------------------------------------------------------------

    def test_wrong_settings_are_reported_and_not_retried(self) -> None:
        agents = self.agents("a")
        opening = self.open(agents)
        self.pending[0].errback(HandshakeRefused(401, "check the key", None))
        failure = self.failureResultOf(opening, AgentUnavailable)
        self.assertTrue(failure.value.misconfigured)
        self.assertEqual(agents.health.fault(()), "a: check the key")
        self.failureResultOf(self.open(agents), AgentUnavailable)
        self.clock.advance(RECHECK_SECONDS - 1)
        # Now it may be tried again.
        self.assertNoResult(self.open(agents))
        self.assertEqual(self.names(), ["a"])
        self.clock.advance(1)
        self.assertEqual(self.names(), ["a", "a"])

    def test_one_wrong_setting_leaves_the_others_ready(self) -> None:
        agents = self.agents("b", "a")
        self.open(agents)
        self.pending[0].errback(HandshakeRefused(401, "wrong", None))
        self.assertEqual(self.names(), ["a", "b"])
        self.assertIsNone(agents.health.fault(()))
        self.assertEqual(agents.health.states(), {"a": "misconfigured", "b": "usable"})

    def test_a_token_that_expired_while_the_machine_slept_is_not_a_wrong_setting(
        self,
    ) -> None:
        """Its 401 is followed by another attempt, with another token."""

        class Tokens:
            number, asked = 1, True

            def headers(self) -> Deferred[Any]:
                return succeed({"Authorization": f"Bearer {self.number}"})

            def refused(self, headers: Any) -> bool:
                is_old, self.asked = self.asked, False
                self.number += 1
                return is_old

        agents = self.agents("a")
        agents._credentials = dict.fromkeys(agents._credentials, Tokens())
        opening = self.open(agents)
        self.pending[0].errback(HandshakeRefused(401, "expired", None))
        self.assertNoResult(opening)
        self.clock.advance(0.51)
        sent = [headers["Authorization"] for _, headers in self.attempts]
        self.assertEqual(sent, ["Bearer 1", "Bearer 2"])
        # If a new token is refused as well, an operator has to act.
        self.pending[1].errback(HandshakeRefused(401, "no role", None))
        failure = self.failureResultOf(opening, AgentUnavailable)
        self.assertTrue(failure.value.misconfigured)

    def test_another_refusal_does_not_discard_the_token(self) -> None:
        agents = self.agents("a")
        opening = self.open(agents)
        self.patch(ApiKey, "refused", lambda *_: self.fail("nobody asked"))
        self.pending[0].errback(HandshakeRefused(403, "no role", None))
        self.failureResultOf(opening, AgentUnavailable)

    def test_a_call_in_progress_does_not_wait_long_for_a_silent_deployment(
        self,
    ) -> None:
        for is_running, seconds in ((True, 0.5), (False, 2.0)):
            self.attempts.clear()
            opening = self.agents("b", "a").open(
                *(AgentProfile(), PCMU, RecordingCall([])), is_running=is_running
            )
            self.clock.advance(seconds - 0.01)
            self.assertEqual(self.names(), ["a"])
            self.clock.advance(0.02)
            self.assertEqual(self.names(), ["a", "b"])
            opening.addErrback(lambda _: None)
            opening.cancel()

    def test_sessions_that_fail_during_calls_send_the_next_ones_elsewhere(self) -> None:
        agents = self.agents("b", "a")
        for expected in ("a", "a", "b"):
            self.open(agents)
            self.assertEqual(self.names()[-1], expected)
            agents.failed("a")
        agents.failed("one that is not here any more")

    def test_a_refused_profile_does_not_rest_the_deployment(self) -> None:
        agents = self.agents("b", "a")
        bad = AgentProfile(name="bad")
        opening = agents.open(bad, PCMU, RecordingCall([]))
        for attempt in (0, 1):
            self.pending[attempt].errback(ProfileRefused("no such voice"))
        failure = self.failureResultOf(opening, ProfileRefused)
        self.assertEqual(str(failure.value), "no such voice")
        self.assertEqual(self.names(), ["a", "b"])
        self.assertEqual(agents.health.states(), {"a": "usable", "b": "usable"})
        self.assertEqual(agents.health.profile_faults(), {"bad": "no such voice"})
        good = self.open(agents)
        self.pending[2].callback(RecordingAgent([]))
        self.successResultOf(good)

    def test_another_deployment_may_accept_a_refused_profile(self) -> None:
        agents = self.agents("b", "a")
        opening = self.open(agents)
        self.pending[0].errback(ProfileRefused("no such voice"))
        self.pending[1].callback(RecordingAgent([]))
        self.successResultOf(opening)
        self.assertEqual(agents.health.profile_faults(), {})

    def test_a_shortage_of_this_machine_is_not_the_deployment_s_fault(self) -> None:
        agents = self.agents("b", "a")
        self.shortage = "out of file descriptors"
        opening = self.open(agents)
        for _ in range(5):
            for _ in "ab":
                self.pending[-1].errback(AgentUnavailable("Too many open files"))
            self.assertIn("out of file", str(agents.health.fault(())))
            self.clock.advance(0.51)
        # Five rounds of both deployments, with pauses that do not grow.
        self.assertEqual(self.names(), ["a", "b"] * 5 + ["a"])
        self.shortage = None
        self.pending[-1].callback(RecordingAgent([]))
        self.successResultOf(opening)

    def test_changed_settings_keep_what_is_known_of_those_that_stay(self) -> None:
        agents = self.agents("b", "a")
        self.open(agents)
        self.pending[0].errback(HandshakeRefused(429, "429", 60.0))
        under_way = self.pending[1]
        changed = [
            Deployment(
                DeploymentSettings(
                    name=name,
                    endpoint="https://r.openai.azure.com",
                    deployment=name,
                    priority=priority,
                ),
                ApiKey(f"new-{name}"),
            )
            for name, priority in (("a", 1), ("c", 2))
        ]
        agents.change(changed)
        self.assertEqual(agents.health.states(), {"a": "resting", "c": "usable"})
        # What was begun at one that is gone goes on.
        under_way.callback(RecordingAgent([]))
        self.open(agents)
        self.assertEqual(self.attempts[2:], [("c", {"api-key": "new-c"})])

    def test_an_endpoint_that_cannot_be_made_is_an_agent_that_is_away(self) -> None:
        agents = self.agents("a")

        def broken(url: str) -> Any:
            raise OSError(2, "no such file: ca.pem")

        agents._endpoint = broken
        opening = self.open(agents)
        self.clock.pump([0.5] * 60)
        why = self.failureResultOf(opening, AgentUnavailable).value
        self.assertIn("no such file", str(why))
        self.assertEqual(self.attempts, [])
