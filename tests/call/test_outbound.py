"""An outbound call: the agent is opened first, then the telephone is dialled."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.call import Call
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.errors import TransferFailed
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


class OutgoingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log: Log = []
        self.clock = Clock()
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        self.table = CallTable(
            self.agents,
            roster=Roster(
                agents={"default": AgentProfile(greeting="Hello.")}, routes={}
            ),
            tools=RecordingTools([]),
            limits=Limits(idle_seconds=5.0),
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            wall_time=lambda: 0.0,
            new_id=lambda: "id",
        )
        self.leg = RecordingLeg(self.log, buffers=False)
        call = self.table.outgoing(self.leg)
        assert isinstance(call, Call)
        self.call = call
        self.agent = RecordingAgent(self.log)

    def names(self) -> list[str]:
        return [entry[0] for entry in self.log]

    def test_the_call_is_dialled_once_the_agent_is_ready(self) -> None:
        self.assertEqual(self.names(), ["agents.open"])
        self.agents.opening[0].callback(self.agent)
        self.assertEqual(self.names(), ["agents.open", "leg.dial"])
        for _ in range(600):  # a call that rings is not idle
            self.clock.advance(0.02)
        self.leg.dialling.callback(None)
        self.assertEqual(self.names()[2:4], ["leg.answer", "agent.say"])

    def test_a_busy_callee_closes_the_agent_and_the_record(self) -> None:
        self.agents.opening[0].callback(self.agent)
        self.call.leg_ended(Ending(Outcome.UNANSWERED, "486 Busy Here"))
        self.assertEqual(self.names().count("agent.close"), 1)
        self.assertEqual(
            self.measures.records[0].ending, Ending(Outcome.UNANSWERED, "486 Busy Here")
        )

    def test_an_agent_lost_during_ringing_cancels_the_call(self) -> None:
        self.agents.opening[0].callback(self.agent)
        self.call.conversation.agent_lost("gone")
        self.assertIn("leg.dial_cancelled", self.names())
        self.assertNotIn("agent.close", self.names())
        self.assertIn("leg.hang_up", self.names())

    def test_a_transferred_call_ends_as_transferred(self) -> None:
        self.agents.opening[0].callback(self.agent)
        self.leg.dialling.callback(None)
        done = self.call.transfer("sales")
        self.leg.transferring.callback(None)
        self.assertIsNone(self.successResultOf(done))
        ending = self.measures.records[0].ending
        assert ending is not None
        self.assertEqual(ending.outcome, Outcome.TRANSFERRED)

    def test_a_failed_transfer_leaves_the_call_unchanged(self) -> None:
        self.agents.opening[0].callback(self.agent)
        self.leg.dialling.callback(None)
        done = self.call.transfer("sales")
        self.leg.transferring.errback(TransferFailed("busy"))
        self.failureResultOf(done, TransferFailed)
        self.assertEqual(self.measures.records, [])
        self.assertTrue(self.call.send_digits("12#"))
