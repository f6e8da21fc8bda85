"""Every limit of a call's length leaves time for the goodbye."""

from __future__ import annotations

from typing import Any

from attrs import define
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.limits import TimeLimit
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.interfaces import AgentTraits
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

#: What a goodbye takes from the request to its end, and when it is looked at.
SAID_IN, LOOKED_AT_EVERY = 1.0, 0.5

LENGTHS = st.floats(4.0, 40.0) | st.sampled_from([3595.0, 3600.0, 7200.0])


class DeafAgent(RecordingAgent):
    def send_audio(self, audio: bytes) -> None:
        """An hour of it is not kept."""


@define(slots=False)
class LimitedCall:
    """
    @ivar session: how long the service's session lasts, from when it was opened.
    """

    limit: float
    session: float
    answered_after: float
    is_told: bool
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
        traits: dict[str, Any] = {"most_seconds": self.session}
        if self.is_told:
            traits = {"expires_at": STARTED_AT + self.session, "most_seconds": 3600.0}
        agents.opening[-1].callback(DeafAgent(self.log, **traits))
        talk = agents.events[-1]
        asked_at = None
        while not self.measures.records:
            now = self.clock.seconds()
            assert now < self.limit + 60.0
            if now >= self.session and asked_at is None:
                talk.agent_lost("session_expired")
            call.caller_audio(b"\xff" * 160)
            # Nothing happens for long in a long call.
            if now < min(self.limit, self.session) - 80.0:
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
    @example(
        limit=3600.0, session=3600.0, answered=1.0, is_told=True, goodbye_seconds=10.0
    )
    @example(
        limit=3600.0, session=3600.0, answered=1.0, is_told=False, goodbye_seconds=10.0
    )
    @given(
        limit=LENGTHS,
        session=LENGTHS,
        answered=st.floats(0.0, 2.0),
        is_told=st.booleans(),
        goodbye_seconds=st.floats(2.0, 30.0),
    )
    def test_whichever_limit_is_first_the_goodbye_is_said_before_it(
        self,
        limit: float,
        session: float,
        answered: float,
        is_told: bool,
        goodbye_seconds: float,
    ) -> None:
        call = LimitedCall(limit, session, answered, is_told, goodbye_seconds)
        call.run_call()
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.TIME_LIMIT, record.ending)
        asked_at = call.asked_at
        assert asked_at is not None
        self.assertLessEqual(asked_at, limit + 2 * LOOKED_AT_EVERY)
        self.assertLessEqual(asked_at, session)
        # A call is not ended for nothing.
        lead = min(goodbye_seconds + 10.0, session / 2) + LOOKED_AT_EVERY
        self.assertGreaterEqual(asked_at, min(limit, session - lead))

    def test_a_clock_that_is_wrong_ends_no_call_at_once(self) -> None:
        for expires_at in (0.0, STARTED_AT - 3600, STARTED_AT + 1e9):
            with self.subTest(expires_at=expires_at):
                limit = TimeLimit(Limits(), STARTED_AT)
                traits = AgentTraits(
                    codec=PCMU, expires_at=expires_at, most_seconds=3600.0
                )
                limit.joined(traits, 1.0)
                self.assertIsNone(limit.ending(60.0))
                self.assertIsNotNone(limit.ending(3590.0))

    def test_a_session_without_an_end_leaves_the_calls_own_limit(self) -> None:
        limit = TimeLimit(Limits(max_call_seconds=9000.0), STARTED_AT)
        limit.joined(AgentTraits(codec=PCMU), 1.0)
        self.assertIsNone(limit.ending(8999.0))
        self.assertIsNotNone(limit.ending(9000.0))
