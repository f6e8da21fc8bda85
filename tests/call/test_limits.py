"""Every limit of a call's length leaves time for the goodbye."""

from __future__ import annotations

from attrs import define
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile, ProfileLimits
from chime_gateway.settings.values import Limits
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingLeg,
    RecordingMeasures,
    RecordingTools,
)

STARTED_AT = 1_000_000.0

#: How long a goodbye takes from the request to its end, and the interval of checks.
SAID_IN, LOOKED_AT_EVERY = 1.0, 0.5

LENGTHS = st.floats(4.0, 40.0) | st.sampled_from([3595.0, 3600.0, 7200.0])


class DeafAgent(RecordingAgent):
    def send_audio(self, audio: bytes) -> None:
        """Discard the audio, which lasts for hours."""


@define(slots=False)
class LimitedCall:
    limit: float
    answered_after: float
    goodbye_seconds: float

    def run_call(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        own = ProfileLimits(
            max_call_seconds=self.limit, goodbye_seconds=self.goodbye_seconds
        )
        table = CallTable(
            agents,
            roster=Roster(agents={"default": AgentProfile(limits=own)}),
            tools=RecordingTools([]),
            limits=Limits(),
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            wall_time=lambda: STARTED_AT,
            new_id=lambda: "call",
        )
        call = table.incoming(RecordingLeg(self.log))
        self.advance(self.answered_after)
        # The line handles the end of its session.
        agent = DeafAgent(self.log, expires_at=STARTED_AT + 30.0, most_seconds=30.0)
        agents.opening[-1].callback(agent)
        talk = agents.events[-1]
        asked_at = None
        while not self.measures.records:
            assert self.clock.seconds() < self.limit + 60.0
            call.caller_audio(b"\xff" * 160)
            # In a long call nothing happens for most of the time.
            if self.clock.seconds() < self.limit - 80.0:
                self.clock.advance(10.0)
            self.advance(LOOKED_AT_EVERY)
            if asked_at is None and self.log[-1][0] == "agent.last_words":
                asked_at = self.clock.seconds()
                talk.last_words_start("bye")
                talk.response_started("bye")
                talk.agent_audio("bye", "i", 0, b"\x10" * 4000)
                self.advance(SAID_IN)
                talk.response_done("bye", "completed", "", {})
        self.asked_at = asked_at

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.25] * round(seconds / 0.25))


class LimitsTests(SynchronousTestCase):
    @settings(max_examples=15)
    @example(limit=7200.0, answered=1.0, goodbye_seconds=10.0)
    @given(
        limit=LENGTHS,
        answered=st.floats(0.0, 2.0),
        goodbye_seconds=st.floats(2.0, 30.0),
    )
    def test_a_call_says_goodbye_at_its_own_limit_and_not_before(
        self, limit: float, answered: float, goodbye_seconds: float
    ) -> None:
        call = LimitedCall(limit, answered, goodbye_seconds)
        call.run_call()
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.TIME_LIMIT, record.ending)
        assert call.asked_at is not None
        self.assertLessEqual(call.asked_at, limit + 2 * LOOKED_AT_EVERY)
        self.assertGreaterEqual(call.asked_at, limit)
