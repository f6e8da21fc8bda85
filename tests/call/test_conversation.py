"""Tools, keys, transfers and farewells, on recording fakes and one clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.event_json import live_call_json, payload_json
from chime_gateway.call.events import (
    CallEnded,
    CallEvent,
    HeardFacts,
    ToolCalled,
    TurnCompleted,
    TurnFacts,
)
from chime_gateway.call.routing import Roster
from chime_gateway.call.table import CallTable
from chime_gateway.call.tools import BUILT_IN_TOOLS
from chime_gateway.errors import ToolFailed, TransferFailed
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
        """Of the call that is over."""
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
        """What was asked of these, without plays, marks and audio."""
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


class HttpToolTests(ConversationTestCase):
    def test_a_tool_s_result_reaches_the_agent_which_goes_on(self) -> None:
        self.response(("order", {"number": 7}))
        self.done()
        self.assertEqual(self.called("tool.run"), [("tool.run", "order", "c1")])
        self.assertNotIn(("agent.respond",), self.log)
        self.tools.asked["c1"].callback('{"state":"sent"}')
        self.assertEqual(self.result("c1"), {"state": "sent"})
        self.assertEqual(self.log[-1], ("agent.respond",))

    def test_the_server_is_told_whose_call_it_is(self) -> None:
        self.response(("order", {"number": 7}))
        (body,) = self.tools.bodies
        self.assertEqual(body["arguments"], {"number": 7})
        self.assertEqual(body["tool"], "order")
        self.assertEqual(body["call"]["call_id"], "call")
        self.assertEqual(body["call"]["caller"], "+15550001")

    def test_several_run_side_by_side_and_are_answered_once(self) -> None:
        self.response(("order", {"number": 1}), ("order", {"number": 2}))
        self.assertEqual(len(self.called("tool.run")), 2)
        self.tools.asked["c2"].callback('"b"')
        self.done()
        self.assertEqual(self.called("agent.respond"), [])
        self.tools.asked["c1"].callback('"a"')
        self.assertEqual(len(self.called("agent.respond")), 1)

    def test_results_before_the_response_is_done_wait_for_it(self) -> None:
        self.response(("order", {"number": 1}))
        self.tools.asked["c1"].callback('"a"')
        self.assertEqual(self.called("agent.respond"), [])
        self.done()
        self.assertEqual(len(self.called("agent.respond")), 1)

    def test_wrong_arguments_are_told_and_no_server_is_asked(self) -> None:
        for arguments, word in (
            ('{"number": "seven"}', "number"),
            ("{}", "required"),
            ("[1]", "object"),
            ("{broken", "JSON"),
            ("[" * 100_000, "too long"),
            ("[" * 50_000, "JSON"),
        ):
            with self.subTest(arguments=arguments[:20]):
                self.log.clear()
                self.talk.tool_called("r9", "c9", "order", arguments)
                self.assertIn(word, self.result("c9")["error"])
                self.assertEqual(self.called("tool.run"), [])

    def test_an_invented_tool_is_told_which_there_are(self) -> None:
        self.response(("launch", {}))
        self.assertIn("there are: end_call", self.result("c1")["error"])

    def test_a_failure_is_told_in_words(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.tools.asked["c1"].errback(
            ToolFailed("the server says 404", "no such order")
        )
        self.assertIn("no such order", self.result("c1")["error"])
        self.assertEqual(self.log[-1], ("agent.respond",))
        self.call.leg_ended(GONE)
        (record,) = self.measures.records
        self.assertEqual((record.tool_calls, record.failed_tool_calls), (1, 1))

    def test_a_late_result_after_a_barge_in_is_still_delivered(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.talk.speech_started("u")
        self.tools.asked["c1"].callback('"late"')
        self.assertEqual(self.result("c1"), "late")
        # The caller's turn is answered anyway, and that answer knows.
        self.assertEqual(self.called("agent.respond"), [])

    def test_a_result_behind_the_caller_s_turn_asks_for_an_answer(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.talk.speech_started("u")
        self.talk.speech_stopped("u")
        self.tools.asked["c1"].callback('"late"')
        self.assertEqual(len(self.called("agent.respond")), 1)

    def test_a_call_that_ends_gives_its_tools_up(self) -> None:
        self.response(("order", {"number": 1}))
        self.call.leg_ended(GONE)
        self.assertIn(("tool.cancelled", "c1"), self.log)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_bug_in_a_tool_ends_the_call_and_shows(self) -> None:
        self.response(("order", {"number": 1}))
        self.tools.asked["c1"].errback(ZeroDivisionError("a bug"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIs(self.ending().outcome, Outcome.INTERNAL_ERROR)

    def test_a_long_pause_is_filled_once(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.run_for(1.9)
        self.assertEqual(self.called("agent.interject"), [])
        self.run_for(5)
        ((_, words),) = self.called("agent.interject")
        self.assertIn("One moment, please.", words)

    def test_no_filler_is_said_into_speech(self) -> None:
        self.response(("order", {"number": 1}), speech=SECOND * 3)
        self.done()
        self.run_for(2.9)
        self.assertEqual(self.called("agent.interject"), [])
        self.run_for(0.3)
        self.assertEqual(len(self.called("agent.interject")), 1)

    def test_tools_are_in_the_transcript_and_among_the_events(self) -> None:
        self.response(("order", {"number": 1}))
        self.clock.advance(0.5)
        self.tools.asked["c1"].callback('"a"')
        (event,) = [e for e in self.events if e.kind == "tool.called"]
        assert isinstance(event.payload, ToolCalled)
        self.assertEqual(event.payload.tool.name, "order")
        self.assertEqual(event.payload.tool.seconds, 0.5)
        self.call.leg_ended(GONE)
        (turn,) = self.transcript()
        self.assertEqual((turn.speaker, turn.tool), ("tool", event.payload.tool))


class ToneTests(ConversationTestCase):
    profile = AgentProfile(tools=(ORDER,), filler="tone", filler_after_seconds=1.0)

    def test_a_tone_comes_back_until_there_is_a_result(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.run_for(8)
        tones = len(self.called("leg.play"))
        self.assertIn(tones, (5, 6))  # two plays each: the first frame has a mark
        self.tools.asked["c1"].callback('"a"')
        self.run_for(8)
        self.assertEqual(len(self.called("leg.play")), tones)

    def test_a_tone_that_is_cut_is_not_told_to_the_agent(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.run_for(1.1)
        self.talk.speech_started("u")
        self.assertIn(("leg.clear",), self.log)
        self.assertEqual(self.called("agent.truncate"), [])
        self.call.leg_ended(GONE)
        self.assertEqual(self.measures.records[0].media.barge_ins, 0)


class EndCallTests(ConversationTestCase):
    def test_the_line_is_dropped_when_the_goodbye_was_heard(self) -> None:
        self.response(("end_call", {}), speech=SECOND)
        self.done()
        self.run_for(0.9)
        self.assertEqual(self.called("leg.hang_up"), [])
        self.run_for(0.2)
        self.assertEqual(self.ending().outcome, Outcome.COMPLETED)
        self.assertEqual(self.ending().reason, "the agent ended the call")
        self.assertEqual(self.called("agent.respond"), [])

    def test_an_agent_that_said_nothing_is_asked_for_a_goodbye(self) -> None:
        self.talk.speech_started("u")
        self.talk.speech_stopped("u")
        self.clock.advance(0.1)
        self.response(("end_call", {}))
        self.done()
        ((_, words),) = self.called("agent.say")
        self.assertIn("goodbye", words)
        self.talk.response_started("bye")
        self.talk.agent_audio("bye", "b", 0, SECOND)
        self.talk.response_done("bye", "completed", "", {})
        self.run_for(1.1)
        self.assertEqual(self.ending().reason, "the agent ended the call")

    def test_a_goodbye_that_is_not_heard_is_not_waited_for_without_end(self) -> None:
        self.talk.speech_stopped("u")
        self.clock.advance(0.1)
        self.response(("end_call", {}))
        self.done()
        self.run_for(4.6)
        self.assertEqual(self.ending().outcome, Outcome.COMPLETED)


class TransferTests(ConversationTestCase):
    def transfer(self) -> None:
        self.response(("transfer_call", {"target": "office"}), speech=SECOND)
        self.done()

    def test_the_caller_is_handed_on_when_the_announcement_was_heard(self) -> None:
        self.transfer()
        self.run_for(0.9)
        self.assertEqual(self.called("leg.transfer"), [])
        self.run_for(0.2)
        self.assertEqual(self.called("leg.transfer"), [("leg.transfer", "+15559999")])
        self.leg.transferring.callback(None)
        self.assertEqual(self.ending().outcome, Outcome.TRANSFERRED)
        (note,) = self.measures.records[0].transfers
        self.assertEqual((note.target, note.outcome), ("office", "transferred"))

    def test_a_failed_transfer_returns_the_caller_to_the_agent_who_is_told(
        self,
    ) -> None:
        self.transfer()
        self.run_for(1.1)
        self.leg.transferring.errback(TransferFailed("busy"))
        self.assertEqual(self.result("c1"), {"error": "busy"})
        self.assertEqual(self.log[-1], ("agent.respond",))
        self.assertEqual(len(self.table.calls()), 1)
        (note,) = self.call.record.transfers
        self.assertEqual((note.outcome, note.reason), ("failed", "busy"))
        self.assertIn("call.transfer_failed", self.kinds())

    def test_only_named_targets_can_be_chosen(self) -> None:
        self.response(("transfer_call", {"target": "+19005551234"}))
        self.assertIn("target", self.result("c1")["error"])
        self.run_for(1)
        self.assertEqual(self.called("leg.transfer"), [])

    def test_a_caller_who_speaks_first_stays(self) -> None:
        self.transfer()
        self.run_for(0.5)
        self.talk.speech_started("u")
        self.run_for(2)
        self.assertEqual(self.called("leg.transfer"), [])
        self.assertIn("spoke", self.result("c1")["error"])

    def test_a_second_transfer_waits_for_nothing(self) -> None:
        self.transfer()
        self.run_for(1.1)
        self.talk.tool_called("r2", "c9", "transfer_call", '{"target":"office"}')
        self.assertIn("under way", self.result("c9")["error"])

    def test_a_caller_who_leaves_in_a_transfer_ends_the_call(self) -> None:
        self.transfer()
        self.run_for(1.1)
        self.call.leg_ended(GONE)
        self.assertEqual(self.ending(), GONE)
        self.leg.transferring.errback(TransferFailed("too late"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_an_agent_lost_in_a_transfer_does_not_stop_it(self) -> None:
        self.transfer()
        self.run_for(1.1)
        self.talk.agent_lost("broken")
        self.run_for(5)
        self.assertEqual(len(self.table.calls()), 1)
        self.leg.transferring.callback(None)
        self.assertEqual(self.ending().outcome, Outcome.TRANSFERRED)

    def test_an_operator_s_transfer_that_fails_is_told_to_the_agent(self) -> None:
        done = self.call.transfer("+15551111")
        self.leg.transferring.errback(TransferFailed("no answer"))
        self.failureResultOf(done, TransferFailed)
        ((_, text, is_order),) = self.called("agent.tell")
        self.assertIn("no answer", text)
        self.assertTrue(is_order)
        self.assertEqual(self.log[-1], ("agent.respond",))


class FallbackTests(ConversationTestCase):
    profile = AgentProfile(fallback="office", fallback_address="+15559999")

    def test_a_caller_whose_agent_is_lost_is_handed_on(self) -> None:
        self.talk.agent_audio("r", "i", 0, SECOND)
        self.talk.agent_lost("the session broke")
        self.run_for(0.9)
        self.assertEqual(self.called("leg.transfer"), [])
        self.run_for(0.2)
        self.assertEqual(self.called("leg.transfer"), [("leg.transfer", "+15559999")])
        self.leg.transferring.callback(None)
        self.assertEqual(self.ending().outcome, Outcome.TRANSFERRED)

    def test_without_anybody_the_call_ends_for_its_first_reason(self) -> None:
        self.talk.agent_lost("the session broke")
        self.run_for(0.1)
        self.leg.transferring.errback(TransferFailed("busy"))
        self.assertEqual(self.ending(), Ending(Outcome.AGENT_LOST, "the session broke"))
        self.assertIn(("leg.hang_up", Outcome.AGENT_LOST), self.log)

    def test_it_takes_calls_whose_agent_never_came(self) -> None:
        from chime_gateway.errors import AgentUnavailable

        self.call.leg_ended(GONE)
        self.measures.records.clear()
        call: Any = self.table.incoming(self.leg)
        self.agents.opening[-1].errback(AgentUnavailable("throttled"))
        self.clock.advance(0.02)
        self.assertEqual(self.called("leg.transfer"), [("leg.transfer", "+15559999")])
        call.leg_ended(GONE)
        self.leg.transferring.errback(TransferFailed("gone"))


class DigitTests(ConversationTestCase):
    def press(self, digits: str) -> None:
        for digit in digits:
            self.call.digit_pressed(digit)

    def test_keys_reach_the_agent_as_a_text(self) -> None:
        self.press("12#")
        self.assertEqual(
            self.log,
            [
                ("agent.tell", "[The caller pressed 12# on the keypad]", False),
                ("agent.respond",),
            ],
        )

    def test_a_key_silences_the_agent(self) -> None:
        self.response(speech=SECOND)
        self.press("1")
        self.assertIn(("leg.clear",), self.log)
        self.assertIn(("agent.cancel",), self.log)
        self.assertEqual(len(self.called("agent.truncate")), 1)

    def test_digits_are_collected_for_the_agent_and_nobody_else(self) -> None:
        self.response(("collect_digits", {"max_digits": 6}))
        self.done()
        self.press("4711#")
        self.assertEqual(
            self.result("c1"), {"digits": "4711", "ended_by": "terminator"}
        )
        self.assertEqual(self.called("agent.tell"), [])
        self.call.leg_ended(GONE)
        everything = json.dumps([payload_json(event.payload) for event in self.events])
        self.assertNotIn("4711", everything)

    def test_no_digits_in_time_are_told_as_well(self) -> None:
        self.response(("collect_digits", {"timeout_seconds": 2}))
        self.done()
        self.run_for(2.1)
        self.assertEqual(self.result("c1"), {"digits": "", "ended_by": "timeout"})

    def test_the_agent_can_press_keys(self) -> None:
        self.response(("send_digits", {"digits": "1#"}))
        self.assertIn(("leg.send_digits", "1#"), self.log)
        self.assertEqual(self.result("c1"), {"ok": True})

    def test_what_is_no_key_is_not_pressed(self) -> None:
        self.response(("send_digits", {"digits": "1;drop"}))
        self.assertEqual(self.called("leg.send_digits"), [])
        self.assertIn("digits", self.result("c1")["error"])

    def test_a_call_that_ends_while_it_waits_for_digits(self) -> None:
        self.response(("collect_digits", {}))
        self.call.leg_ended(GONE)
        self.assertEqual(self.flushLoggedErrors(), [])


class McpTests(ConversationTestCase):
    def test_an_agent_that_does_not_go_on_by_itself_is_told_to(self) -> None:
        self.talk.response_started("r")
        self.talk.mcp_called("crm.find", "")
        self.done()
        self.run_for(2.1)
        self.assertEqual(len(self.called("agent.respond")), 1)
        self.run_for(3)
        self.assertEqual(len(self.called("agent.respond")), 1)

    def test_an_agent_that_goes_on_is_left_alone(self) -> None:
        self.talk.response_started("r")
        self.talk.mcp_called("crm.find", "")
        self.done()
        self.talk.response_started("r2")
        self.run_for(3)
        self.assertEqual(self.called("agent.respond"), [])

    def test_it_is_in_the_record(self) -> None:
        self.talk.mcp_called("crm.find", "timeout")
        self.assertEqual(self.call.record.failed_tool_calls, 1)


class OperatorTests(ConversationTestCase):
    def test_a_text_is_said_at_once(self) -> None:
        self.response(speech=SECOND)
        self.assertTrue(self.call.say("We close in five minutes."))
        self.assertIn(("leg.clear",), self.log)
        ((_, words),) = self.called("agent.say")
        self.assertTrue(words.endswith("We close in five minutes."))

    def test_an_order_waits_for_the_next_turn_unless_asked_otherwise(self) -> None:
        self.assertTrue(self.call.instruct("Offer a discount.", False))
        self.assertEqual(self.log, [("agent.tell", "Offer a discount.", True)])
        self.call.instruct("Now.", True)
        self.assertEqual(self.log[-1], ("agent.respond",))

    def test_a_call_that_is_parting_takes_no_more_words(self) -> None:
        self.call.part(GONE)
        self.assertFalse(self.call.say("More"))
        self.assertFalse(self.call.instruct("More", True))

    def test_the_snapshot_shows_what_was_said_so_far(self) -> None:
        self.talk.agent_said("i", "Hello", True)
        shown = self.call.snapshot()
        self.assertEqual(live_call_json(shown)["state"], "live")
        self.assertEqual(shown.transcript[0].text, "Hello")


class EventTests(ConversationTestCase):
    def test_a_call_tells_its_story_in_order(self) -> None:
        self.talk.speech_started("u")
        self.run_for(0.5)
        self.talk.speech_stopped("u")
        self.talk.caller_said("u", "Hello?")
        self.run_for(0.6)
        self.talk.response_started("r")
        self.talk.agent_audio("r", "i", 0, SECOND)
        self.talk.agent_said("i", "Good morning", True)
        self.talk.response_done("r", "completed", "", {})
        self.run_for(1.6)
        self.call.leg_ended(GONE)
        self.assertEqual(
            self.kinds(),
            [
                *("call.started", "call.answered"),
                *("turn.completed", "turn.completed", "call.ended"),
            ],
        )
        self.assertEqual([event.number for event in self.events], [1, 2, 3, 4, 5])
        agent = self.heard(self.events[3])
        self.assertEqual((agent.heard_ms, agent.spoken_ms), (1000, 1000))
        self.assertFalse(agent.interrupted)

    def test_an_interruption_says_what_was_heard(self) -> None:
        self.talk.response_started("r")
        self.talk.agent_audio("r", "i", 0, SECOND * 2)
        self.talk.agent_said("i", "one two three four", True)
        self.run_for(1.0)
        self.talk.speech_started("u")
        self.run_for(0.6)
        (event,) = [e for e in self.events if e.kind == "turn.completed"]
        heard = self.heard(event)
        self.assertTrue(heard.interrupted)
        self.assertApproximates(heard.heard_ms, 1000, 40)
        self.assertEqual(heard.heard_text, "one two")

    def test_a_caller_who_hangs_up_in_the_middle_of_it_heard_only_so_much(self) -> None:
        self.talk.response_started("r")
        self.talk.agent_audio("r", "i", 0, SECOND * 2)
        self.run_for(0.5)
        self.call.leg_ended(GONE)
        (turn,) = self.transcript()
        assert turn.heard is not None
        self.assertTrue(turn.heard.interrupted)
        self.assertApproximates(turn.heard.heard_ms, 500, 40)


class TranscriptionTests(ConversationTestCase):
    """Three ways in which nothing is written down; the call goes on in each."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        observer: Any = self._logged
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _logged(self, event: dict[str, Any]) -> None:
        text = formatEvent(event)
        if "not written down" in text:
            self.lines.append(text)

    def turn(self, number: int) -> None:
        self.talk.speech_started(f"u{number}")
        self.run_for(0.2)
        self.talk.speech_stopped(f"u{number}")
        # Somebody answers, or the agent is given up.
        self.response()
        self.done()

    def settled(self) -> int:
        return self.kinds().count("turn.completed")

    def test_a_turn_that_fails_is_settled_at_once_without_a_text(self) -> None:
        self.turn(1)
        self.talk.transcription_failed("u1", "failed", "DeploymentNotFound: none")
        self.run_for(0.6)
        self.assertEqual(self.settled(), 1)
        self.assertEqual(self.measures.texts_missed, ["failed"])
        self.assertEqual(self.measures.records, [])

    def test_a_refusal_means_that_no_text_is_waited_for(self) -> None:
        self.talk.transcription_failed("", "refused", "invalid_value: model")
        for number in range(3):
            self.turn(number)
            self.run_for(0.6)
            self.assertEqual(self.settled(), number + 1)
        self.assertEqual(self.measures.texts_missed, ["refused"])

    def test_silence_is_counted_and_after_three_turns_not_waited_for(self) -> None:
        for number in range(3):
            self.turn(number)
            self.run_for(14.0)
            self.assertEqual(self.settled(), number)
            self.run_for(1.6)
            self.assertEqual(self.settled(), number + 1)
        self.turn(4)
        self.run_for(0.6)
        self.assertEqual(self.settled(), 4)
        self.assertEqual(self.measures.texts_missed, ["silent"] * 3)

    def test_a_text_that_comes_after_all_is_waited_for_again(self) -> None:
        for number in range(3):
            self.turn(number)
            self.talk.transcription_failed(f"u{number}", "failed", "busy")
        self.talk.caller_said("u2", "late")
        self.run_for(0.6)
        self.turn(5)
        self.run_for(0.6)
        self.assertEqual(self.settled(), 3)
        self.talk.caller_said("u5", "Hello")
        self.run_for(0.6)
        self.assertEqual(self.settled(), 4)

    def test_it_is_logged_once_a_call_and_counted_in_its_record(self) -> None:
        for number in range(5):
            self.turn(number)
            self.talk.transcription_failed(f"u{number}", "failed", "busy")
        self.call.leg_ended(GONE)
        self.assertEqual(len(self.lines), 1)
        self.assertIn("transcription_model", self.lines[0])
        notes = self.measures.records[0].protocol_notes
        self.assertEqual(notes["transcription_failed"], 5)

    def test_a_call_that_ends_before_the_text_came_has_missed_none(self) -> None:
        self.turn(1)
        self.call.leg_ended(GONE)
        self.assertEqual(self.measures.texts_missed, [])

    def test_tokens_of_transcripts_are_in_the_record(self) -> None:
        self.talk.tokens_used({"input_tokens": 7})
        self.talk.tokens_used({"input_tokens": 5})
        self.call.leg_ended(GONE)
        self.assertEqual(self.measures.records[0].tokens["input_tokens"], 12)
