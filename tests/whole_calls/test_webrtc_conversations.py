"""Whole calls whose agent is reached over WebRTC, on one clock."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_16000, PCMU, Codec
from chime_gateway.call.reports.events import TurnCompleted
from chime_gateway.call.tools.end_call import EndCall
from chime_gateway.codec.registry import decode
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.compare import correlation
from tests.support.virtual_webrtc import VirtualRtcCall
from tests.whole_calls.test_conversations import ORDER, Server, script
from tests.whole_calls.test_media_stream import LONG, SHORT, phrase


class RtcCallTestCase(SynchronousTestCase):
    def run_call(self, plan: CallPlan, **more: Any) -> VirtualRtcCall:
        self.call = call = VirtualRtcCall(plan, **more)
        self.report = call.run()
        (self.record,) = call.measures.records
        for session in call.agents.sessions:
            self.assertEqual(session.log.violations, [])
            self.assertEqual(session.log.errors, [])
            self.assertNotIn("conversation.item.truncate", session.log.commands)
        return call

    def loud_seconds(self) -> float:
        heard = decode(PCMU, bytes(self.report.heard)).astype(int)
        return float((abs(heard) > 1000).sum()) / 8000

    def agent_turns(self) -> list[Any]:
        return [
            event.payload.turn
            for event in self.call.events
            if isinstance(event.payload, TurnCompleted)
            and event.payload.turn.speaker == "agent"
        ]


class ConversationTests(RtcCallTestCase):
    @settings(max_examples=3, deadline=None)
    @example([0.8], PCMU, False)
    @example([None, 0.3], PCMU, True)
    @given(
        st.lists(st.none() | st.floats(0.1, 1.4), min_size=1, max_size=3),
        st.sampled_from((PCMU, L16_16000)),
        st.booleans(),
    )
    def test_an_interrupted_agent_falls_silent_and_the_last_answer_is_complete(
        self, after: list[float | None], codec: Codec, is_raw: bool
    ) -> None:
        said = [phrase(codec, *LONG)] * len(after) + [phrase(codec, *SHORT)]
        plan = CallPlan(utterances=tuple(said), interrupt_after_seconds=tuple(after))
        self.run_call(plan, codec=codec, is_raw=is_raw)
        self.assertEqual(self.report.stale_bytes, 0)
        last = decode(codec, phrase(codec, *SHORT))
        score, _ = correlation(last, decode(codec, bytes(self.report.heard)))
        self.assertGreater(score, 0.97)
        # The transcript has what was heard, by the gateway's clock.
        cuts = self.report.interruptions
        told = [t.heard for t in self.agent_turns() if t.heard and t.heard.interrupted]
        self.assertEqual(len(told), len(cuts))
        for heard, cut in zip(told, cuts, strict=True):
            self.assertLess(abs(heard.heard_ms - cut.heard_ms), 60.0)
        (session,) = self.call.agents.sessions
        self.assertEqual(len(session.log.truncations), len(cuts))
        tokens = self.record.tokens
        self.assertGreater(tokens["output_tokens"], 0)

    def test_the_agent_ends_the_call_when_its_goodbye_was_heard(self) -> None:
        for seconds in (0.04, 1.5, 14.0):
            voice = script(
                [
                    {"tone": 440, "seconds": seconds, "say": "Goodbye!"},
                    {"call": "end_call"},
                ]
            )
            plan = CallPlan(utterances=(phrase(PCMU, *SHORT),) * 3, answer_seconds=20.0)
            self.run_call(plan, voice=voice, profile=AgentProfile(tools=(EndCall(),)))
            assert self.record.ending is not None
            self.assertEqual(self.record.ending.reason, "the agent ended the call")
            self.assertApproximates(self.loud_seconds(), seconds, 0.1 * seconds + 0.1)

    def test_a_tool_is_called_and_the_agent_answers_with_its_result(self) -> None:
        for seconds in (0.1, 3.0):
            server = Server(seconds)
            voice = script(
                [
                    {"tone": 660, "seconds": 1.0, "say": "One moment."},
                    {"call": "order", "arguments": {"number": 1}},
                ],
                {"tone": 440, "seconds": 1, "say": "It was sent."},
            )
            plan = CallPlan(utterances=(phrase(PCMU, *SHORT),) * 2, answer_seconds=9.0)
            call = VirtualRtcCall(
                plan, voice=voice, profile=AgentProfile(tools=(ORDER,)), tools=server
            )
            server.clock = call.clock
            self.call, self.report = call, call.run()
            texts = [turn.text for turn in self.agent_turns()]
            self.assertEqual(texts[:2], ["One moment.", "It was sent."])
            (session,) = call.agents.sessions
            self.assertEqual(session.log.errors, [])

    def test_a_key_cuts_the_agent_at_the_service_as_well(self) -> None:
        voice = script({"tone": 440, "seconds": 8, "say": "A long story."})
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),), answer_seconds=20.0)
        call = VirtualRtcCall(plan, voice=voice)
        call.clock.callLater(4.0, self.press, call)
        call.run()
        (session,) = call.agents.sessions
        self.assertIn("output_audio_buffer.clear", session.log.commands)
        self.assertEqual(session.log.errors, [])
        self.assertEqual(len(session.log.truncations), 1)

    def press(self, call: VirtualRtcCall) -> None:
        (one,) = call.table.calls()
        one.digit_pressed("1")

    def test_audio_of_the_agent_that_the_network_loses_is_counted(self) -> None:
        voice = script({"tone": 440, "seconds": 6, "say": "A long story."})
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),), answer_seconds=12.0)
        call = VirtualRtcCall(plan, voice=voice, seed=3)
        call.clock.callLater(1.0, vars(call.rtc.network).update, {"loss": 0.1})
        call.run()
        (record,) = call.measures.records
        dropped = record.media.dropped
        self.assertGreater(dropped["agent_lost_in_network"], 5, dropped)
        total = call.rtc.traffic.network_stats()
        self.assertGreaterEqual(total.lost, dropped["agent_lost_in_network"])
        self.assertGreater(total.packets_in, 250)
        self.assertGreater(total.packets_out, 250)

    def test_tokens_of_an_answer_cut_by_hanging_up_are_counted(self) -> None:
        voice = script({"tone": 440, "seconds": 12, "say": "A long story."})
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),), answer_seconds=3.0)
        call = VirtualRtcCall(plan, voice=voice)
        call.clock.callLater(6.0, call.line.hang_up)
        call.run()
        (record,) = call.measures.records
        self.assertGreater(record.tokens["output_tokens"], 0)


class FailoverTests(RtcCallTestCase):
    @settings(max_examples=3, deadline=None)
    @given(st.floats(1.0, 9.0))
    def test_a_session_lost_in_mid_sentence_is_followed_by_the_next(
        self, at: float
    ) -> None:
        voice = script({"tone": 440, "seconds": 4, "say": "One two three four five."})
        plan = CallPlan(utterances=(phrase(PCMU, *SHORT),) * 2, answer_seconds=12.0)
        call = VirtualRtcCall(plan, voice=voice)

        def lose() -> None:
            call.agents.azure[0].socket_closed("the test has ended it")
            call.agents.sessions[0].stop()

        call.clock.callLater(at, lose)
        report = call.run()
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertEqual(record.ending.reason, "the caller hung up")
        self.assertEqual(len(call.agents.sessions), 2)
        self.assertEqual(len(report.answer_latencies), 2)
        for session in call.agents.sessions:
            self.assertEqual(session.log.errors, [])
