"""A call on recording fakes and one clock, for tests of its conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.reports.events import (
    CallEnded,
    CallEvent,
    HeardFacts,
    TurnCompleted,
    TurnFacts,
)
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.media.metronome import Metronome
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import HttpTool, Target
from chime_gateway.settings.values import Limits
from tests.support.fakes import (
    Log,
    RecordingAgent,
    RecordingAgents,
    RecordingLeg,
    RecordingMeasures,
    RecordingTools,
)

ORDER = HttpTool(
    name="order",
    description="Look an order up.",
    url="https://crm.example/order",
    parameters={
        "type": "object",
        "properties": {"number": {"type": "integer"}},
        "required": ["number"],
    },
)


PROFILE = AgentProfile(
    tools=(*BUILT_IN_TOOLS, ORDER),
    targets={"office": Target(address="+15559999", description="9 to 5")},
    filler="One moment, please.",
    filler_after_seconds=2.0,
)


GONE = Ending(Outcome.COMPLETED, "the caller hung up")


SECOND = b"\x10" * 8000


class ConversationTestCase(SynchronousTestCase):
    profile = PROFILE
    buffers = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        self.tools = RecordingTools(self.log)
        self.events: list[CallEvent] = []
        self.table = CallTable(
            self.agents,
            roster=Roster(agents={"default": self.profile}),
            limits=Limits(goodbye_seconds=4.0, idle_seconds=20.0),
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            tools=self.tools,
            wall_time=lambda: 1_000_000.0,
            new_id=lambda: "call",
            listeners=[self.events.append],
        )
        self.leg = RecordingLeg(self.log, buffers=self.buffers)
        self.agent = RecordingAgent(self.log)
        self.call = cast(Any, self.table.incoming(self.leg))
        self.agents.opening[-1].callback(self.agent)
        self.talk = self.call.conversation
        self.log.clear()

    def transcript(self) -> Sequence[TurnFacts]:
        """Return the transcript of the ended call."""
        payload = self.events[-1].payload
        assert isinstance(payload, CallEnded)
        return payload.transcript

    @staticmethod
    def heard(event: CallEvent) -> HeardFacts:
        assert isinstance(event.payload, TurnCompleted)
        assert event.payload.turn.heard is not None
        return event.payload.turn.heard

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.call.caller_audio(b"\xff" * 160)
            self.clock.advance(0.02)

    def called(self, *names: str) -> list[tuple[Any, ...]]:
        """Return the requests to these, without plays, marks and audio."""
        return [entry for entry in self.log if entry[0] in names]

    def response(self, *calls: tuple[str, dict[str, Any]], speech: bytes = b"") -> None:
        """The agent answers: speech, then tool calls c1, c2, ..."""
        self.talk.response_started("r")
        if speech:
            self.talk.agent_audio("r", "i", 0, speech)
            self.talk.agent_audio_done("i")
        for number, (name, arguments) in enumerate(calls, 1):
            text = json.dumps(arguments)
            self.talk.tool_called("r", f"c{number}", name, text)

    def done(self) -> None:
        self.talk.response_done("r", "completed", "", {})

    def result(self, call_id: str) -> Any:
        (output,) = [
            entry[2]
            for entry in self.log
            if entry[0] == "agent.tool_result" and entry[1] == call_id
        ]
        return json.loads(output)

    def ending(self) -> Ending:
        (record,) = self.measures.records
        assert record.ending is not None
        return record.ending

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]
