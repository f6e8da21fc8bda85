"""Tools of a response: requests, results, fillers, and tools that the service runs."""

from __future__ import annotations

from chime_gateway.call.reports.events import (
    ToolCalled,
)
from chime_gateway.errors import ToolFailed
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from tests.support.conversation import GONE, ORDER, SECOND, ConversationTestCase


class HttpToolTests(ConversationTestCase):
    def test_a_tool_s_result_reaches_the_agent_which_continues(self) -> None:
        self.response(("order", {"number": 7}))
        self.done()
        self.assertEqual(self.called("tool.run"), [("tool.run", "order", "c1")])
        self.assertNotIn(("agent.respond",), self.log)
        self.tools.asked["c1"].callback('{"state":"sent"}')
        self.assertEqual(self.result("c1"), {"state": "sent"})
        self.assertEqual(self.log[-1], ("agent.respond",))

    def test_the_server_receives_the_facts_of_the_call(self) -> None:
        self.response(("order", {"number": 7}))
        (body,) = self.tools.bodies
        self.assertEqual(body["arguments"], {"number": 7})
        self.assertEqual(body["tool"], "order")
        self.assertEqual(body["call"]["call_id"], "call")
        self.assertEqual(body["call"]["caller"], "+15550001")

    def test_several_tools_run_concurrently_and_are_answered_once(self) -> None:
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

    def test_wrong_arguments_are_reported_and_no_request_is_sent(self) -> None:
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

    def test_a_call_of_an_unknown_tool_gets_the_available_ones(self) -> None:
        self.response(("launch", {}))
        self.assertIn("available tools: end_call", self.result("c1")["error"])

    def test_a_failure_is_reported_in_words(self) -> None:
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
        # The answer to the caller's turn will include the result.
        self.assertEqual(self.log[-1], ("agent.respond",))

    def test_a_result_after_the_caller_s_turn_requests_an_answer(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.talk.speech_started("u")
        self.talk.speech_stopped("u")
        self.tools.asked["c1"].callback('"late"')
        self.assertEqual(len(self.called("agent.respond")), 1)

    def test_a_call_that_ends_cancels_its_tools(self) -> None:
        self.response(("order", {"number": 1}))
        self.call.leg_ended(GONE)
        self.assertIn(("tool.cancelled", "c1"), self.log)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_bug_in_a_tool_ends_the_call_and_is_logged(self) -> None:
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

    def test_no_filler_is_played_during_speech(self) -> None:
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

    def test_a_tone_is_repeated_until_there_is_a_result(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.run_for(8)
        tones = len(self.called("leg.play"))
        self.assertIn(tones, (5, 6))  # two plays each: the first frame has a mark
        self.tools.asked["c1"].callback('"a"')
        self.run_for(8)
        self.assertEqual(len(self.called("leg.play")), tones)

    def test_a_cut_tone_is_not_reported_to_the_agent(self) -> None:
        self.response(("order", {"number": 1}))
        self.done()
        self.run_for(1.1)
        self.talk.speech_started("u")
        self.assertIn(("leg.clear",), self.log)
        self.assertEqual(self.called("agent.truncate"), [])
        self.call.leg_ended(GONE)
        self.assertEqual(self.measures.records[0].media.barge_ins, 0)


class McpTests(ConversationTestCase):
    def test_the_agent_continues_when_response_and_tool_call_are_over(self) -> None:
        for is_call_first in (False, True):
            with self.subTest(is_call_first=is_call_first):
                self.setUp()
                self.talk.response_started("r")
                if is_call_first:
                    self.talk.mcp_called("crm.find", "")
                self.assertEqual(self.called("agent.respond"), [])
                self.done()
                if not is_call_first:
                    self.assertEqual(self.called("agent.respond"), [])
                    self.run_for(10)
                    self.talk.mcp_called("crm.find", "")
                self.assertEqual(len(self.called("agent.respond")), 1)
                self.run_for(3)
                self.assertEqual(len(self.called("agent.respond")), 1)
                self.assertTrue(self.talk.answer.is_overdue(1e9))

    def test_an_agent_that_continues_itself_is_left_alone(self) -> None:
        self.talk.response_started("r")
        self.talk.mcp_called("crm.find", "")
        self.talk.agent_audio("r", "i", 0, bytes(160))
        self.done()
        self.run_for(3)
        self.assertEqual(self.called("agent.respond"), [])

    def test_a_server_without_tools_changes_nothing(self) -> None:
        self.talk.mcp_called("list_tools", "its tools are not known")
        self.run_for(3)
        self.assertEqual(self.called("agent.respond"), [])
        self.assertEqual(self.call.record.failed_tool_calls, 1)

    def test_the_tool_call_is_in_the_record(self) -> None:
        self.talk.mcp_called("crm.find", "timeout")
        self.assertEqual(self.call.record.failed_tool_calls, 1)
