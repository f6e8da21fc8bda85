"""Several calls at a time: a failure in one does not affect the others."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.reports.events import CallEvent
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.errors import CallRefused
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import Ending
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


class Broken(Exception):
    """Stands for any bug."""


class BrokenLeg(RecordingLeg):
    def clear(self) -> None:
        raise Broken("clear")

    def hang_up(self, ending: Ending) -> None:
        raise Broken("hang_up")


class BrokenAgent(RecordingAgent):
    def say(self, instructions: str, *, is_last: bool = False) -> None:
        raise Broken("say")

    def close(self) -> None:
        raise Broken("close")


def broken_listener(event: CallEvent) -> None:
    raise Broken("listener")


class FaultTests(SynchronousTestCase):
    def table(self, has_broken_listener: bool) -> CallTable:
        self.log: Log = []
        self.events: list[CallEvent] = []
        self.clock = Clock()
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        listeners = [self.events.append]
        if has_broken_listener:
            listeners.insert(0, broken_listener)
        return CallTable(
            self.agents,
            roster=Roster(agents={"default": AgentProfile()}, routes={}),
            tools=RecordingTools([]),
            limits=Limits(),
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            wall_time=lambda: 0.0,
            new_id=iter(map(str, range(100))).__next__,
            listeners=listeners,
        )

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.sampled_from(("whole", "leg", "agent")), min_size=1, max_size=5),
        st.booleans(),
        st.booleans(),
    )
    def test_every_call_ends_and_leaves_its_record(
        self, schedule: list[str], has_broken_listener: bool, parts: bool
    ) -> None:
        table = self.table(has_broken_listener)
        for fault in schedule:
            leg = BrokenLeg if fault == "leg" else RecordingLeg
            table.incoming(leg(self.log))
            agent = BrokenAgent if fault == "agent" else RecordingAgent
            self.agents.opening[-1].callback(agent(self.log))
        emptied = table.drain()
        if parts:
            table.part_all()
            self.assertEqual(
                [name for name, *_ in self.log].count("agent.last_words"),
                len(schedule) - schedule.count("agent"),
            )
        table.hang_up_all()
        self.successResultOf(emptied)
        self.assertEqual(table.calls(), [])
        self.assertEqual(len(self.measures.records), len(schedule))
        kinds = [event.kind for event in self.events]
        self.assertEqual(kinds.count("call.ended"), len(schedule))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.flushLoggedErrors(Broken)


class ReadinessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agents_fault: str | None = None
        self.shortage: str | None = None
        self.asked: list[list[str]] = []
        clock = Clock()
        self.table = CallTable(
            RecordingAgents([]),
            roster=Roster(agents={"default": AgentProfile(), "b": AgentProfile()}),
            limits=Limits(max_calls=1),
            clock=clock,
            metronome=Metronome(clock),
            measures=RecordingMeasures(),
            tools=RecordingTools([]),
            wall_time=lambda: 0.0,
            new_id=lambda: "call",
            agents_fault=self.fault_of,
            shortage=lambda: self.shortage,
        )

    def fault_of(self, profiles: Collection[str]) -> str | None:
        self.asked.append(list(profiles))
        return self.agents_fault

    def test_without_an_agent_it_is_not_ready_but_refuses_no_call(self) -> None:
        self.assertIsNone(self.table.fault())
        self.agents_fault = "every deployment is resting"
        self.assertEqual(self.table.fault(), "every deployment is resting")
        self.assertEqual(self.asked, [["default", "b"]] * 2)
        self.table.incoming(RecordingLeg([]))
        self.assertEqual(self.table.fault(), "full: max_calls is 1")

    def test_without_descriptors_calls_are_refused(self) -> None:
        self.shortage = "out of file descriptors"
        self.assertEqual(self.table.fault(), "out of file descriptors")
        self.assertRaises(CallRefused, self.table.incoming, RecordingLeg([]))
        self.shortage = None
        self.table.incoming(RecordingLeg([]))
