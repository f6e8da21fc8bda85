"""Calls that begin before the caller can hear."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.call import Call
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentLine
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingLeg,
    RecordingMeasures,
    RecordingTools,
)

LEFT = Ending(Outcome.ABANDONED, "the caller hung up")


class EarlyLeg(RecordingLeg):
    """A leg whose caller may arrive before the call asks for that."""

    is_there = False

    def arrive(self) -> Deferred[None]:
        arriving = super().arrive()
        if self.is_there:
            arriving.callback(None)
        return arriving


class ArrivalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log: Log = []
        self.clock = Clock()
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        profile = AgentProfile(greeting="Hello.", apology="Sorry.")
        self.table = CallTable(
            self.agents,
            roster=Roster(agents={"default": profile}, routes={}),
            tools=RecordingTools([]),
            limits=Limits(idle_seconds=5.0),
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            wall_time=lambda: 0.0,
            new_id=lambda: "id",
        )
        self.leg = EarlyLeg(self.log, buffers=False, arrives_later=True)
        call = self.table.incoming(self.leg)
        assert isinstance(call, Call)
        self.call = call
        self.agent = RecordingAgent(self.log)

    def names(self) -> list[str]:
        return [entry[0] for entry in self.log]

    @property
    def ending(self) -> Ending | None:
        return self.measures.records[0].ending

    def test_the_agent_is_opened_first_and_greets_the_caller_who_arrives(self) -> None:
        self.assertEqual(self.names(), ["agents.open"])
        self.agents.opening[0].callback(self.agent)
        for _ in range(600):  # a caller who has not arrived is not idle
            self.clock.advance(0.02)
        self.assertEqual(self.names(), ["agents.open", "leg.arrive"])
        self.leg.arriving.callback(None)
        self.assertEqual(self.names()[2:4], ["leg.answer", "agent.say"])

    def test_a_caller_who_arrives_first_waits_only_for_the_agent(self) -> None:
        self.leg.is_there = True
        self.agents.opening[0].callback(self.agent)
        self.assertEqual(self.names()[1:4], ["leg.arrive", "leg.answer", "agent.say"])

    def test_an_apology_waits_until_the_caller_can_hear_it(self) -> None:
        self.agents.opening[0].errback(AgentUnavailable("none"))
        self.assertEqual(self.names(), ["agents.open", "leg.arrive"])
        self.clock.advance(0.02)
        self.assertNotIn("leg.answer", self.names())
        self.leg.arriving.callback(None)
        self.clock.advance(0.1)
        self.assertIn("leg.answer", self.names())

    def test_without_an_apology_the_caller_is_not_waited_for(self) -> None:
        """The caller is not answered either: another gateway may take the call."""
        self.leg.traits = evolve(self.leg.traits, fails_over=True)
        call = self.table.incoming(self.leg)
        self.agents.opening[1].errback(AgentUnavailable("none"))
        self.assertNotIn("leg.arrive", self.names())
        self.assertNotIn("leg.answer", self.names())
        self.assertNotIn(call, self.table.calls())

    @settings(max_examples=30, deadline=None)
    @given(st.permutations(("agent", "arrives", "leaves", "waits")), st.booleans())
    def test_in_any_order_of_events_nothing_is_left_open(
        self, order: list[str], is_lost: bool
    ) -> None:
        """A caller who hangs up before hearing anything was never answered."""
        self.setUp()
        opening: Deferred[AgentLine] = self.agents.opening[0]
        for act in order:
            if act == "agent":
                if opening.called:
                    continue
                if is_lost:
                    opening.errback(AgentUnavailable("none"))
                else:
                    opening.callback(self.agent)
            elif act == "arrives":
                self.leg.is_there = True
                if "leg.arrive" in self.names() and not self.leg.arriving.called:
                    self.leg.arriving.callback(None)
            elif act == "leaves":
                self.call.leg_ended(LEFT)
            else:
                for _ in range(10):
                    self.clock.advance(0.02)
        self.call.leg_ended(LEFT)
        names = self.names()
        self.assertEqual(self.table.calls(), [])
        self.assertEqual(len(self.measures.records), 1)
        if "agent" in order and not is_lost:
            is_opened = "agents.cancelled" not in names
            self.assertEqual(names.count("agent.close"), int(is_opened))
        before = order[: order.index("leaves")]
        if not is_lost:
            was_heard = {"agent", "arrives"} <= set(before)
            self.assertEqual("leg.answer" in names, was_heard)
        self.assertFalse(self.clock.getDelayedCalls())
