"""
There are never more calls than the limits allow, and a call in progress is left alone.
Each refused call leaves one record, or none and one refusal.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.admission.admission import Admission, Reason
from chime_gateway.call.admission.load import Load
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.errors import AgentUnavailable, CallRefused
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile, ProfileLimits
from chime_gateway.settings.sound import TONE
from chime_gateway.settings.values import Limits
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingLeg,
    RecordingMeasures,
    RecordingTools,
)

LIMITS = Limits(
    max_calls=5,
    max_calls_per_peer=3,
    max_calls_per_caller=2,
    max_apologies=2,
    # Longer than all steps together, so no call reaches its time limit.
    max_call_seconds=100_000,
    idle_seconds=100_000,
)
PROFILES = {
    "default": AgentProfile(apology=TONE),
    "few": AgentProfile(apology=TONE, limits=ProfileLimits(max_calls=2)),
    "mute": AgentProfile(),
}
GONE = Ending(Outcome.COMPLETED, "the caller hung up")


class Callers(RuleBasedStateMachine):
    """Calls of all kinds, at any load of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.used = 0.0
        self.log: Log = []
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        load = Load(LIMITS, self.clock.seconds, lambda: self.used)
        self.metronome = Metronome(self.clock, load.tick_was_late)
        self.table = CallTable(
            self.agents,
            roster=Roster(agents=PROFILES),
            tools=RecordingTools([]),
            limits=LIMITS,
            clock=self.clock,
            metronome=self.metronome,
            measures=self.measures,
            wall_time=lambda: 0.0,
            new_id=iter(map(str, range(10_000))).__next__,
            admission=Admission(LIMITS, load),
        )
        self.running: dict[str, tuple[Any, RecordingLeg]] = {}
        self.asked = 0
        self.turned_away = 0
        self.elsewhere = 0
        self.table.admission.elsewhere = lambda: self.elsewhere

    @rule(
        count=st.integers(1, 5),
        profile=st.sampled_from(sorted(PROFILES)),
        peer=st.sampled_from(["192.0.2.1", "192.0.2.2", ""]),
        caller=st.sampled_from(["+15550001", "+15550002", ""]),
        fails_over=st.booleans(),
        buffers=st.booleans(),
        agent=st.sampled_from(["comes", "comes", "comes", "fails"]),
    )
    def come(self, count: int, **what: Any) -> None:
        for _ in range(count):
            self.comes(**what)

    def comes(self, buffers: bool, fails_over: bool, agent: str, **who: str) -> None:
        leg = RecordingLeg(self.log, buffers=buffers, agent=who["profile"])
        leg.traits = evolve(leg.traits, fails_over=fails_over)
        leg.info = evolve(leg.info, peer=who["peer"], caller=who["caller"])
        self.asked += 1
        refused = self.refused
        opened = len(self.agents.opening)
        before = {call.record.call_id for call in self.table.calls()}
        served = self.served()
        if self.table.door(fails_over) is not None:
            self.turned_away += 1
        else:
            try:
                events = self.table.incoming(leg)
            except CallRefused:
                self.turned_away += 1
            else:
                self.came(leg, events, agent, before, opened)
        is_in = len(self.agents.opening) > opened
        # Either an agent was requested, or the call was refused, once.
        assert self.refused - refused == (not is_in)
        if is_in:
            assert len(served) + self.elsewhere < LIMITS.max_calls

    @property
    def refused(self) -> int:
        return sum(self.table.admission.refused.values())

    def came(
        self, leg: RecordingLeg, events: Any, agent: str, before: set[str], opened: int
    ) -> None:
        (call_id,) = {call.record.call_id for call in self.table.calls()} - before
        if len(self.agents.opening) == opened:
            return  # the caller hears an apology
        opening = self.agents.opening[-1]
        if agent == "fails":
            opening.errback(AgentUnavailable("nobody"))
        else:
            opening.callback(RecordingAgent(self.log))
            self.running[call_id] = events, leg

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def hangs_up(self, data: st.DataObject) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.running)))
        events, _ = self.running.pop(call_id)
        events.leg_ended(GONE)

    @rule(
        seconds=st.sampled_from([0.02, 0.5, 3.0]),
        share=st.sampled_from([0.0, 0.5, 1.0]),
        late=st.sampled_from([0.0, 0.0, 0.09]),
    )
    def passes(self, seconds: float, share: float, late: float) -> None:
        for _ in range(round(seconds / (0.02 + late)) or 1):
            self.used += share * (0.02 + late)
            self.clock.advance(0.02 + late)

    @rule(count=st.integers(0, 7))
    def others_have(self, count: int) -> None:
        """Other processes of the gateway may have any number of calls."""
        self.elsewhere = count

    @rule(seconds=st.floats(1, 1000))
    def is_stopped(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def served(self) -> list[Any]:
        return [
            call
            for call in self.table.calls()
            if call.record.call_id in self.running
            or call.record.answered_seconds is not None
        ]

    @invariant()
    def limits_hold(self) -> None:
        served = self.served()
        assert len(served) <= LIMITS.max_calls
        profiles = Counter(call.record.agent_profile for call in served)
        assert profiles["few"] <= 2
        peers = Counter(call.record.info.peer for call in served)
        callers = Counter(call.record.info.caller for call in served)
        peers.pop("", None), callers.pop("", None)
        assert max(peers.values(), default=0) <= LIMITS.max_calls_per_peer
        assert max(callers.values(), default=0) <= LIMITS.max_calls_per_caller
        told = [call for call in self.table.calls() if call not in served]
        assert len(told) <= LIMITS.max_apologies + LIMITS.max_calls

    @invariant()
    def who_talks_goes_on_talking(self) -> None:
        ids = {call.record.call_id for call in self.table.calls()}
        assert ids >= set(self.running)

    def teardown(self) -> None:
        self.elsewhere = 0
        for events, _ in self.running.values():
            events.leg_ended(GONE)
        for _ in range(1200):
            self.clock.advance(0.02)
        assert self.table.calls() == []
        assert self.table.refusal() is None
        admission = self.table.admission
        assert len(self.measures.records) + self.turned_away == self.asked
        refused = [
            record
            for record in self.measures.records
            if record.ending is not None and record.ending.outcome is Outcome.REFUSED
        ]
        assert len(refused) == admission.apologised
        assert all(not record.tokens for record in refused)
        # All places were given back, and none twice.
        for who, most in (
            ({}, LIMITS.max_calls + LIMITS.max_apologies),
            ({"agent": "few"}, 2 + LIMITS.max_apologies),
            ({"peer": "192.0.2.1"}, LIMITS.max_calls_per_peer),
            ({"peer": "192.0.2.2"}, LIMITS.max_calls_per_peer),
            ({"caller": "+15550001"}, LIMITS.max_calls_per_caller),
            ({"caller": "+15550002"}, LIMITS.max_calls_per_caller),
        ):
            assert self.how_many_come(**who) == most, who
        assert self.clock.getDelayedCalls() == []

    def how_many_come(self, **who: str) -> int:
        count = 0
        for n in range(20):
            leg = RecordingLeg(self.log)
            new: dict[str, Any] = {"caller": f"+155510{n:02}", **who}
            leg.info = evolve(leg.info, **new)
            try:
                self.table.incoming(leg)
            except CallRefused:
                continue
            count += 1
        self.table.hang_up_all()
        return count


class AdmissionTests(SynchronousTestCase):
    def test_the_limits_always_hold_and_no_call_is_ended(self) -> None:
        run_state_machine_as_test(
            Callers,
            settings=settings(max_examples=30, stateful_step_count=25, deadline=None),
        )


class ReasonTests(SynchronousTestCase):
    def test_every_reason_has_a_name_for_metrics(self) -> None:
        names = [reason.value for reason in Reason]
        self.assertEqual(len(set(names)), len(names))
