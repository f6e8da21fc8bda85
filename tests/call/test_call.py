from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.call import Call
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.errors import AgentUnavailable, CallRefused, UnknownAgent
from chime_gateway.interfaces import LegEvents
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

LIMITS = Limits(
    max_calls=2,
    max_call_seconds=60,
    idle_seconds=10,
    agent_silence_seconds=8,
    goodbye_seconds=4,
)
GONE = Ending(Outcome.COMPLETED, "the caller hung up")


class CallTestCase(SynchronousTestCase):
    greeting = ""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log: Log = []
        self.agents = RecordingAgents(self.log)
        self.measures = RecordingMeasures()
        self.ids = iter(f"call{n}" for n in range(100))
        self.table = CallTable(
            self.agents,
            roster=Roster(
                agents={
                    "default": AgentProfile(greeting=self.greeting),
                    "sales": AgentProfile(interruptible=False),
                },
                routes={"+15559999": "sales"},
            ),
            tools=RecordingTools([]),
            limits=LIMITS,
            clock=self.clock,
            metronome=Metronome(self.clock),
            measures=self.measures,
            wall_time=lambda: 1_000_000.0,
            new_id=lambda: next(self.ids),
        )
        self.leg = RecordingLeg(self.log)
        self.agent = RecordingAgent(self.log)

    def call(self) -> Any:
        """Begin a call whose agent is connected."""
        events = self.table.incoming(self.leg)
        self.agents.opening[-1].callback(self.agent)
        return events

    def run_for(self, seconds: float, caller: LegEvents | None = None) -> None:
        """Let time pass, with audio from the caller if there is one."""
        for _ in range(round(seconds / 0.02)):
            if caller is not None:
                caller.caller_audio(b"\xff" * 160)
            self.clock.advance(0.02)

    def record(self) -> Any:
        """Return the only record; nothing may tick after the end of its call."""
        self.assertEqual(len(self.measures.records), 1)
        self.assertEqual(self.table.calls(), [])
        self.clock.advance(0.02)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return self.measures.records[0]

    def outcome(self) -> Outcome:
        outcome: Outcome = self.record().ending.outcome
        return outcome


class CallTests(CallTestCase):
    def test_the_leg_is_answered_when_the_agent_is_ready(self) -> None:
        self.table.incoming(self.leg)
        self.assertEqual(self.log, [("agents.open", "PCMU")])
        self.clock.advance(0.3)
        self.agents.opening[0].callback(self.agent)
        self.assertEqual(self.log[1:], [("leg.answer",)])

    def test_a_caller_who_hangs_up_closes_the_agent(self) -> None:
        self.call().leg_ended(GONE)
        self.assertEqual(self.log[-1], ("agent.close",))
        self.assertNotIn(("leg.hang_up", Outcome.COMPLETED), self.log)
        self.assertIs(self.outcome(), Outcome.COMPLETED)

    def test_a_caller_who_hangs_up_early_cancels_the_opening(self) -> None:
        self.table.incoming(self.leg).leg_ended(GONE)
        self.assertEqual(self.log[-1], ("agents.cancelled",))
        self.assertIs(self.outcome(), Outcome.ABANDONED)

    def test_a_call_is_refused_if_no_agent_is_available(self) -> None:
        self.table.incoming(self.leg)
        self.agents.opening[0].errback(AgentUnavailable("the key is wrong"))
        self.assertEqual(self.log[-1], ("leg.hang_up", Outcome.AGENT_UNAVAILABLE))
        self.assertEqual(self.record().ending.reason, "the key is wrong")

    def test_a_bug_in_opening_ends_the_call_and_is_logged(self) -> None:
        self.table.incoming(self.leg)
        self.agents.opening[0].errback(ZeroDivisionError("a bug"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIs(self.outcome(), Outcome.INTERNAL_ERROR)

    def test_a_bug_in_a_tick_ends_only_that_call(self) -> None:
        broken = self.call()
        other_leg = RecordingLeg(self.log)
        self.table.incoming(other_leg)
        self.agents.opening[-1].callback(RecordingAgent(self.log))
        self.patch(broken.conversation, "tick", lambda now: 1 / 0)
        self.clock.advance(0.02)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([c.record.call_id for c in self.table.calls()], ["call1"])
        ended = self.measures.records[0].ending
        assert ended is not None
        self.assertIs(ended.outcome, Outcome.INTERNAL_ERROR)

    def test_after_the_agent_is_lost_its_audio_is_played_before_the_call_ends(
        self,
    ) -> None:
        call = self.call()
        call.conversation.agent_audio("r1", "i1", 0, b"a" * 16000)
        self.run_for(0.5, call)
        call.conversation.agent_lost("the session expired")
        self.run_for(1.0, call)
        self.assertNotIn("leg.hang_up", [e[0] for e in self.log])
        self.run_for(0.6)
        self.assertEqual(self.log[-1], ("leg.hang_up", Outcome.AGENT_LOST))
        self.assertEqual(self.record().ending.reason, "the session expired")

    def test_no_audio_from_the_caller_ends_the_call(self) -> None:
        call = self.call()
        self.run_for(5, call)
        self.run_for(9)
        self.assertEqual(len(self.table.calls()), 1)
        self.run_for(2)
        self.assertIs(self.outcome(), Outcome.IDLE)

    def test_a_caller_who_only_listens_is_not_idle(self) -> None:
        call = self.call()
        call.conversation.agent_audio("r1", "i1", 0, b"a" * 8000 * 15)
        self.run_for(14)
        self.assertEqual(len(self.table.calls()), 1)
        self.run_for(2)
        self.assertIs(self.outcome(), Outcome.IDLE)

    def test_a_call_over_its_time_ends_with_a_goodbye(self) -> None:
        call = self.call()
        self.run_for(61, call)
        self.assertEqual(self.log[-1][0], "agent.last_words")
        call.conversation.last_words_start("bye")
        call.conversation.response_started("bye")
        call.conversation.agent_audio("bye", "i9", 0, b"b" * 8000)
        call.conversation.response_done("bye", "completed", "", {})
        self.run_for(0.9, call)
        self.assertEqual(len(self.table.calls()), 1)
        self.run_for(0.2, call)
        self.assertIs(self.outcome(), Outcome.TIME_LIMIT)

    def test_the_call_ends_if_the_goodbye_never_comes(self) -> None:
        call = self.call()
        call.part(Ending(Outcome.DRAINED, "stopping"))
        self.run_for(5, call)
        self.assertIs(self.outcome(), Outcome.DRAINED)

    def test_the_end_of_an_older_response_is_not_the_goodbye(self) -> None:
        call = self.call()
        call.conversation.response_started("old")
        call.part(Ending(Outcome.DRAINED, "stopping"))
        call.conversation.response_done("old", "cancelled", "client_cancelled", {})
        self.run_for(1, call)
        self.assertEqual(len(self.table.calls()), 1)

    def test_an_agent_that_owes_an_answer_and_is_silent_is_given_up(self) -> None:
        call = self.call()
        call.conversation.speech_stopped("s1")
        call.conversation.response_started("r")
        self.run_for(7, call)
        call.conversation.agent_active()
        self.run_for(7, call)
        self.assertEqual(len(self.table.calls()), 1)
        self.run_for(3, call)
        self.assertIs(self.outcome(), Outcome.AGENT_LOST)

    def test_a_silent_agent_that_owes_nothing_is_left_alone(self) -> None:
        call = self.call()
        self.run_for(30, call)
        self.assertEqual(len(self.table.calls()), 1)

    def test_a_call_of_an_unknown_tool_is_answered(self) -> None:
        self.call().conversation.tool_called("r1", "call_1", "launch", "{}")
        self.assertEqual(self.log[-1][:2], ("agent.tool_result", "call_1"))

    def test_the_record_contains_what_happened(self) -> None:
        call = self.call()
        call.conversation.speech_stopped("s1")
        self.run_for(0.5, call)
        call.conversation.response_started("r1")
        call.conversation.agent_audio("r1", "i1", 0, b"a" * 16000)
        call.conversation.response_done("r1", "completed", "", {"input_tokens": 7})
        self.run_for(1, call)
        call.conversation.speech_started("s1")
        call.conversation.speech_stopped("s1")
        call.conversation.response_done(
            "r2", "failed", "server_error", {"input_tokens": 3}
        )
        call.oddity_seen("future.event")
        call.leg_ended(GONE)
        fields = self.record().log_fields()
        expected = {
            "call_id": "call0",
            "outcome": "completed",
            "reason": "the caller hung up",
            "turns": 2,
            "responses": 1,
            "failed_responses": 1,
            "barge_ins": 1,
            "turn_latency_p50": 0.5,
            "turn_latency_p95": 0.5,
            "frames_in": 75,
            "frames_out": 100,
            "tokens": {"input_tokens": 10},
            "protocol_notes": {"future.event": 1},
            "duration_seconds": 1.5,
        }
        self.assertEqual({name: fields[name] for name in expected}, expected)
        self.assertNotIn("+1555", repr(fields))

    def test_a_peer_cannot_fill_the_record_with_oddities(self) -> None:
        call = self.call()
        for number in range(1000):
            call.oddity_seen(f"kind{number}" + "x" * 1000)
        call.leg_ended(GONE)
        notes = self.record().protocol_notes
        self.assertLessEqual(len(notes), 51)
        self.assertLessEqual(max(map(len, notes)), 64)
        self.assertEqual(sum(notes.values()), 1000)


class GreetingTests(CallTestCase):
    greeting = "Good morning!"

    def test_the_agent_speaks_first(self) -> None:
        self.call()
        self.assertEqual(self.log[-1][0], "agent.say")
        self.assertIn("Good morning!", self.log[-1][1])

    def test_audio_before_the_answer_is_not_kept(self) -> None:
        events = self.table.incoming(self.leg)
        events.caller_audio(b"\xff" * 160)
        self.agents.opening[0].callback(self.agent)
        self.assertEqual(self.agent.audio, b"")


class ProfileTests(CallTestCase):
    def test_a_profile_is_chosen_by_name_then_by_number(self) -> None:
        self.leg.info = type(self.leg.info)(called="+15559999")
        self.call()
        named = RecordingLeg(self.log, agent="default")
        self.table.incoming(named)
        profiles = [call.record.agent_profile for call in self.table.calls()]
        self.assertEqual(profiles, ["sales", "default"])

    def test_an_unknown_name_is_refused_before_a_session_is_opened(self) -> None:
        leg = RecordingLeg(self.log, agent="nobody")
        self.assertRaises(UnknownAgent, self.table.incoming, leg)
        self.assertEqual(self.log, [])

    def test_speech_does_not_interrupt_an_agent_that_may_finish(self) -> None:
        leg = RecordingLeg(self.log, agent="sales")
        call: Any = self.table.incoming(leg)
        self.agents.opening[0].callback(self.agent)
        call.conversation.agent_audio("r1", "i1", 0, b"a" * 16000)
        call.conversation.speech_started("s1")
        self.assertNotIn(("leg.clear",), self.log)


class TableTests(CallTestCase):
    def test_a_full_gateway_refuses_before_a_session_is_opened(self) -> None:
        for _ in range(2):
            self.table.incoming(RecordingLeg(self.log))
        self.assertEqual(self.table.refusal(), "full: max_calls is 2")
        self.assertRaises(CallRefused, self.table.incoming, self.leg)
        self.assertEqual(len(self.agents.opening), 2)

    def test_draining_refuses_calls_and_fires_after_the_last_one(self) -> None:
        call = self.call()
        drained = self.table.drain()
        self.assertEqual(self.table.refusal(), "draining")
        self.assertNoResult(drained)
        call.leg_ended(GONE)
        self.assertIsNone(self.successResultOf(drained))

    def test_a_gateway_without_calls_is_drained_at_once(self) -> None:
        self.assertIsNone(self.successResultOf(self.table.drain()))

    def test_part_all_lets_each_agent_say_goodbye(self) -> None:
        self.call()
        self.table.part_all()
        self.assertEqual(self.log[-1][0], "agent.last_words")

    def test_hang_up_all_ends_every_call_now(self) -> None:
        self.call()
        self.table.hang_up_all()
        self.assertIs(self.outcome(), Outcome.DRAINED)
        self.assertEqual(self.log[-1], ("leg.hang_up", Outcome.DRAINED))

    def test_fakes_and_call_match_the_seams(self) -> None:
        self.call()
        self.assertIsInstance(self.table.calls()[0], Call)
        self.assertEqual(self.table.active_by_carrier(), {"websocket": 1})
