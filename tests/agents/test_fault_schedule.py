"""
Deployments that fail and recover over virtual hours, and calls that arrive at random.

One test states what has to hold, whatever happens to which deployment and when.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from random import Random
from typing import Any, Final

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents import deployments as module
from chime_gateway.agents.chooser.breaker import LONGEST_REST_SECONDS
from chime_gateway.agents.chooser.choice import Candidate
from chime_gateway.agents.credentials import ApiKey
from chime_gateway.agents.deployments import Deployment, Deployments
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.audio import PCMU
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentSession
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import DeploymentSettings, Limits
from tests.support.fakes import RecordingAgent, RecordingCall, RecordingMeasures

#: The conditions of a deployment; one that drops SYNs is silent as well.
KINDS: Final = (
    *("up", "up", "refuses", "silent", "slow", "throttles", "no_name", "wrong_key"),
    *("breaks", "never"),
)
ASKED: Final = (None, 0.0, 0.2, 7.5, 60.0, 120.0, 1e5, 1e300, inf, nan, -5.0)
UP_SECONDS: Final = 0.3
MOST_SECONDS: Final = 15.0


@define(eq=False)
class Service:
    """
    One deployment that follows a schedule.

    @ivar changes: (since when, condition).
    @ivar running: attempts that have not ended yet, and whether they are probes.
    """

    name: str
    changes: list[tuple[float, str]]
    random: Random
    running: set[Deferred[AgentSession]] = Factory(set)
    probes: int = 0

    def kind(self, now: float) -> str:
        return next(kind for since, kind in reversed(self.changes) if since <= now)

    def is_up_from(self, begin: float, end: float) -> bool:
        kinds = {kind for since, kind in self.changes if begin < since <= end}
        return kinds | {self.kind(max(0.0, begin))} == {"up"}


class FaultSchedule:
    """One run, determined by its seed."""

    def __init__(self, test: SynchronousTestCase, seed: int, hours: float) -> None:
        self.test = test
        self.random = Random(seed)
        self.clock = Clock()
        self.end = hours * 3600
        self.hedge = self.random.choice([0.0, 0.5, 2.0, 2.0, 60.0])
        self.services = {
            name: self.new_service(name)
            for name in ("a", "b", "c", "d")[: self.random.randint(1, 4)]
        }
        self.violations: list[str] = []
        self.answered = 0
        self.answered_by_a_healthy_one = 0
        self.lost: list[str] = []
        self.deployments = self.new_deployments()

    def new_service(self, name: str) -> Service:
        changes = []
        at = 0.0
        longest = self.random.choice([3.0, 300.0, 900.0])
        while at < self.end:
            changes.append((at, self.random.choice(KINDS)))
            at += self.random.uniform(0.1, longest)
        return Service(name, changes, self.random)

    def new_deployments(self) -> Deployments:
        return Deployments(
            [
                Deployment(
                    DeploymentSettings(
                        name=name,
                        endpoint="https://r.openai.azure.com",
                        deployment=name,
                        priority=self.random.choice([1, 1, 2]),
                        weight=self.random.choice([0.001, 1.0, 1000.0]),
                    ),
                    ApiKey("key"),
                )
                for name in self.services
            ],
            reactor=self.clock,
            clock=self.clock,
            endpoint=lambda url: None,  # type: ignore[arg-type,return-value]
            limits=Limits(
                agent_connect_seconds=MOST_SECONDS, agent_hedge_seconds=self.hedge
            ),
            chance=self.random.random,
            measures=RecordingMeasures(),
        )

    # -- the services ------------------------------------------------------------

    def connect(
        self, url: str, headers: Mapping[str, str], *_: Any
    ) -> Deferred[AgentSession]:
        service = self.services[url.partition("model=")[2]]
        now = self.clock.seconds()
        is_probe = self.candidate(service.name).breaker.failures > 0
        ready: Deferred[AgentSession] = Deferred()
        service.running.add(ready)
        service.probes += is_probe
        if service.probes > 1:
            self.violations.append(f"{service.name}: {service.probes} probes at {now}")

        def over(result: Any) -> Any:
            service.running.discard(ready)
            service.probes -= is_probe
            return result

        ready.addBoth(over)
        self.answer(service, service.kind(now), ready)
        return ready

    def answer(
        self, service: Service, kind: str, ready: Deferred[AgentSession]
    ) -> None:
        def later(seconds: float, result: Any) -> None:
            timer = self.clock.callLater(seconds, fire, result)
            ready.addBoth(stop, timer)

        def fire(result: Any) -> None:
            if isinstance(result, Exception):
                ready.errback(result)
            else:
                ready.callback(result)

        def stop(result: Any, timer: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        if kind == "up":
            later(UP_SECONDS, RecordingAgent([]))
        elif kind == "slow":
            later(self.random.uniform(1.0, 14.0), RecordingAgent([]))
        elif kind == "refuses":
            ready.errback(AgentUnavailable("refused"))
        elif kind == "breaks":
            later(self.random.uniform(0.0, 3.0), AgentUnavailable("server_error"))
        elif kind == "no_name":
            later(5.0, AgentUnavailable("no such name"))
        elif kind == "throttles":
            asked = self.random.choice(ASKED)
            later(0.05, HandshakeRefused(429, "slow down", asked))
        elif kind == "wrong_key":
            later(0.05, HandshakeRefused(401, "wrong key", None))

    def candidate(self, name: str) -> Candidate:
        found = self.deployments._choice.candidates
        return next(candidate for candidate in found if candidate.name == name)

    # -- the calls -----------------------------------------------------------------

    def run(self) -> None:
        pause = self.random.choice([0.05, 2.0, 20.0])
        most_calls = 300
        while self.clock.seconds() < self.end and most_calls > 0:
            for _ in range(self.random.choice([1, 1, 1, 12])):
                most_calls -= 1
                self.call()
            self.advance(self.random.expovariate(1 / pause))
            self.check_rests()
        self.advance(MOST_SECONDS)
        self.check_that_nothing_is_held()

    def advance(self, seconds: float) -> None:
        """Advance from one due call to the next: C{Clock} skips the times between."""
        until = self.clock.seconds() + seconds
        while (now := self.clock.seconds()) < until:
            due = min((c.getTime() for c in self.clock.getDelayedCalls()), default=inf)
            self.clock.advance(max(1e-6, min(due, until) - now))

    def call(self) -> None:
        began = self.clock.seconds()
        opening = self.deployments.open(AgentProfile(), PCMU, RecordingCall([]))
        is_impatient = self.random.random() < 0.1
        if is_impatient:
            opening.addErrback(lambda _: None)
            patience = self.random.uniform(0.0, 6.0)
            self.clock.callLater(patience, opening.cancel)
            return
        opening.addCallbacks(
            self.opened, self.not_opened, callbackArgs=(began,), errbackArgs=(began,)
        )

    def healthy(self, began: float) -> list[str]:
        """Return the services that were up long enough for no rest to be left."""
        since = began - LONGEST_REST_SECONDS - MOST_SECONDS
        services = self.services.values()
        until = began + MOST_SECONDS
        return [s.name for s in services if s.is_up_from(since, until)]

    def opened(self, session: AgentSession, began: float) -> None:
        self.answered += 1
        took = self.clock.seconds() - began
        healthy = self.healthy(began)
        if healthy:
            self.answered_by_a_healthy_one += 1
            others = len(self.services) - 1
            share = MOST_SECONDS / len(self.services)
            patience = min(self.hedge or inf, share)
            # It may have waited for the probe of another call.
            if took > others * patience + 2 * UP_SECONDS + 0.1:
                self.violations.append(f"{healthy} had {began} after {took} s only")

    def not_opened(self, failure: Any, began: float) -> None:
        failure.trap(AgentUnavailable)
        took = self.clock.seconds() - began
        self.lost.append(str(failure.value))
        if took > MOST_SECONDS + 0.01:
            self.violations.append(f"told after {took} s that there is nobody")
        healthy = self.healthy(began)
        if healthy:
            self.violations.append(f"{healthy} is there at {began}: {failure.value}")

    def check_rests(self) -> None:
        now = self.clock.seconds()
        since = now - LONGEST_REST_SECONDS - MOST_SECONDS
        states = self.deployments.health.states()
        for service in self.services.values():
            may_rest = not service.is_up_from(since, now)
            if not may_rest and states[service.name] not in ("usable", "half-open"):
                self.violations.append(f"{service.name} rests at {now}")

    def check_that_nothing_is_held(self) -> None:
        self.test.assertEqual(self.clock.getDelayedCalls(), [])
        self.test.assertEqual(self.deployments._choice.waiting, {})
        self.test.assertEqual(self.deployments._watched, {})
        for service in self.services.values():
            self.test.assertEqual(service.running, set())
            self.test.assertFalse(self.candidate(service.name).breaker.is_probed)
            self.test.assertEqual(self.candidate(service.name).breaker.overdue, 0)


class FaultScheduleTests(SynchronousTestCase):
    def run_schedule(self, seed: int, hours: float = 0.5) -> FaultSchedule:
        with self.subTest(seed=seed):
            schedule = FaultSchedule(self, seed, hours)
            self.patch(module, "connect", schedule.connect)
            schedule.run()
            self.assertEqual(schedule.violations, [])
            return schedule

    def test_a_call_finds_a_healthy_deployment_whatever_happens_to_the_others(
        self,
    ) -> None:
        schedules = [self.run_schedule(seed) for seed in range(8)]
        # The test did find deployments.
        self.assertGreater(sum(s.answered_by_a_healthy_one for s in schedules), 50)
        self.assertGreater(sum(len(s.lost) for s in schedules), 100)
