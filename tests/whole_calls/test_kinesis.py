"""Whole calls over the Kinesis carrier, in memory: conversations and transfers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from chime_gateway.audio import PCMU
from chime_gateway.call.routing import Roster
from chime_gateway.call.tools.end_call import EndCall
from chime_gateway.carriers.kinesis import leg as kinesis_leg
from chime_gateway.errors import TransferFailed
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.aws.sma import application
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.caller.compare import correlation, piecewise_correlation
from chime_gateway.sim.caller.kinesis_line import BUCKET
from chime_gateway.sim.realtime.voices import Script
from tests.support.virtual_kinesis import VirtualNetwork
from tests.whole_calls.kinesis_harness import (
    CUT,
    PLAN,
    KinesisTestCase,
    heard_by,
    samples,
)
from tests.whole_calls.test_conversations import Files


class TalkTests(KinesisTestCase):
    def test_the_caller_is_heard_and_hears_the_answer(self) -> None:
        report = self.network.report(self.network.call(PLAN))
        self.assertAnswered(report)
        said = samples(PLAN.utterances[0])
        score, _ = correlation(said, heard_by(self.gateway))
        self.assertGreater(score, 0.999)
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.assertEqual(self.record.carrier, "kinesis")
        self.assertEqual(self.record.info.called, "+12065550100")
        self.assertEqual(self.record.media.dropped, {})
        self.assertEqual(self.left(), 0)

    def test_a_call_that_is_not_bridged_has_a_conversation_as_well(self) -> None:
        network = self.network = VirtualNetwork(is_bridged=False)
        self.gateway = network.gateway()
        call = network.call(PLAN)
        network.until(lambda: network.line()._was_answered)
        line = network.line()
        # It came through a Voice Connector, and has the transaction id of that.
        line.begin_streaming("+12065550100", line.call.transaction_id)
        report = network.report(call)
        self.assertAnswered(report)
        # Pauses keep it alive between the utterances.
        self.assertIn("Pause", line.call.log)

    def test_utterances_are_private_wav_files_with_unguessable_names(self) -> None:
        self.network.report(self.network.call(PLAN))
        files = self.network.world.media.files.buckets[BUCKET]
        self.assertGreater(len(files), 1)
        for key, content in files.items():
            self.assertRegex(key, r"\Areplies/[A-Za-z0-9_-]{32}\.wav\Z")
            self.assertEqual(content[:4], b"RIFF")

    def test_an_interrupted_agent_is_told_what_was_heard(self) -> None:
        report = self.network.report(self.network.call(CUT))
        self.assertAnswered(report, CUT)
        ((_, told_ms, generated_ms),) = self.gateway.agents.sessions[0].log.truncations
        ((cut),) = report.interruptions
        self.assertLess(told_ms, generated_ms)
        # The promise is one utterance; the clock is much more exact.
        self.assertLess(abs(told_ms - cut.heard_ms), 150)
        self.assertEqual(report.stale_bytes, 0)
        self.assertEqual(self.record.media.barge_ins, 1)

    def test_nothing_was_heard_of_an_agent_cut_before_it_was_heard(self) -> None:
        plan = CallPlan(utterances=PLAN.utterances)
        self.network.call(plan)
        updates = self.gateway.operations
        self.network.until(lambda: "UpdateSipMediaApplicationCall" in updates())
        (session,) = self.gateway.agents.sessions
        (call,) = self.gateway.calls.calls()
        call.conversation.speech_started("s")
        ((_, told_ms, _),) = session.log.truncations
        self.assertLessEqual(told_ms, 120)
        self.network.advance(40)

    def test_the_agent_hangs_up_when_its_goodbye_was_heard_and_it_is_recorded(
        self,
    ) -> None:
        script: Any = [
            [{"tone": 440, "seconds": 1.5, "say": "Goodbye!"}, {"call": "end_call"}]
        ]
        files = Files()
        agents = {"default": AgentProfile(tools=(EndCall(),))}
        self.gateway.calls.roster = Roster(agents=agents)
        self.gateway.agents._voice = Script(script, Path("."))
        self.gateway.calls._recordings = files
        plan = CallPlan(utterances=PLAN.utterances)
        report = self.network.report(self.network.call(plan))
        ending = self.record.ending
        assert ending is not None
        self.assertEqual(ending.reason, "the agent ended the call")
        heard = abs(samples(report.heard).astype(int))
        self.assertApproximates((heard > 1000).sum() / 8000, 1.5, 0.2)
        recorded = abs(samples(files.agent).astype(int))
        self.assertApproximates((recorded > 1000).sum() / 8000, 1.5, 0.2)
        median, _ = piecewise_correlation(
            samples(plan.utterances[0]), samples(files.caller), 2000
        )
        self.assertGreater(median, 0.99)

    def test_without_reports_playback_is_estimated_from_the_clock(self) -> None:
        self.network.hears = False
        self.gateway.agents.sessions.clear()
        report = self.network.report(self.network.call(PLAN))
        self.assertAnswered(report)
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)

    def test_goodbye_is_heard_before_the_caller_is_hung_up(self) -> None:
        # Also if AWS is slow.
        self.patch(application, "_UPDATE_SECONDS", 3.0)
        plan = CallPlan(utterances=PLAN.utterances * 9, answer_seconds=60)
        call = self.network.call(plan)
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        self.network.advance(6)
        self.gateway.calls.part_all()
        report = self.network.report(call)
        self.assertEqual(report.close_reason, "hung up by the application")
        self.assertEqual(self.record.ending.outcome, Outcome.DRAINED)
        media = self.record.media
        self.assertEqual(media.dropped.get("call_ending", 0), 0)
        said = media.frames_out - media.dropped.get("barge_in", 0)
        self.assertGreater(said, 20)
        self.assertGreaterEqual(report.received_bytes, said * PCMU.frame_bytes)

    def test_a_transferred_call_is_over_when_the_target_answers(self) -> None:
        self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        (call,) = self.gateway.calls.calls()
        self.network.advance(1)
        wrong = call.transfer("nowhere")
        self.network.advance(0.1)
        self.failureResultOf(wrong, TransferFailed)
        done = call.transfer("+12065550177")
        self.failureResultOf(call.transfer("+12065550178"), TransferFailed)
        self.network.advance(3)
        self.successResultOf(done)
        self.assertEqual(self.record.ending.outcome, Outcome.TRANSFERRED)
        self.network.advance(1)
        line = self.network.line()
        self.assertEqual(line.call.attributes["state"], "transferred")
        self.assertFalse(line.call.is_over)
        line.hang_up()
        self.network.advance(1)
        self.assertTrue(line.call.is_over)

    def test_a_caller_whom_the_target_refuses_returns_to_the_agent(
        self,
    ) -> None:
        self.network.world.unreachable.add("+12065550177")
        plan = CallPlan(utterances=PLAN.utterances * 2)
        self.network.call(plan)
        self.network.until(lambda: bool(self.gateway.replies))
        (call,) = self.gateway.calls.calls()
        failing = call.transfer("+12065550177")
        self.network.until(lambda: bool(failing.called))
        self.failureResultOf(failing, TransferFailed)
        self.assertEqual(self.gateway.calls.calls(), [call])
        self.network.until(lambda: not self.network.world.lines)
        self.network.advance(3)
        self.assertEqual(self.gateway.carrier.notices["resumed"], 1)
        self.assertEqual(self.record.turns, 2)
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.assertEqual(self.left(), 0)

    def test_a_transfer_that_succeeds_late_is_a_transfer(self) -> None:
        answering: list[Deferred[Any]] = []
        bridge = self.network.world.application.bridge

        def slowly(call: Any, endpoint: Any, headers: Any) -> Deferred[Any]:
            if endpoint["BridgeEndpointType"] == "AWS":
                return bridge(call, endpoint, headers)
            answering.append(Deferred())
            return answering[0]

        self.network.world.application.bridge = slowly
        self.patch(kinesis_leg, "_TRANSFER_SECONDS", 5.0)
        self.network.call(CallPlan(utterances=PLAN.utterances * 9, answer_seconds=99))
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        (call,) = self.gateway.calls.calls()
        self.network.advance(1)
        done = call.transfer("+12065550177")
        self.network.advance(8)
        self.failureResultOf(done, TransferFailed)
        answering[0].callback(mock.Mock())
        self.network.advance(2)
        self.assertEqual(self.record.ending.outcome, Outcome.TRANSFERRED)
        line = self.network.line()
        self.network.advance(20)
        # The caller is talking with the target, and must not be hung up.
        self.assertFalse(line.call.is_over)
        line.hang_up()
        self.network.advance(1)

    def test_a_transfer_without_a_result_disconnects_nobody(self) -> None:
        self.network.hears = False
        self.network.call(CallPlan(utterances=PLAN.utterances * 9, answer_seconds=99))
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        (call,) = self.gateway.calls.calls()
        self.network.advance(1)
        done = call.transfer("+12065550177")
        self.network.advance(70, 0.02)
        self.failureResultOf(done, TransferFailed)
        self.assertEqual(self.gateway.calls.calls(), [])
        line = self.network.line()
        self.assertFalse(line.call.is_over)
        line.hang_up()
        self.network.advance(1)

    def test_a_greeting_answers_before_the_caller_has_said_anything(self) -> None:
        agents = {"default": AgentProfile(greeting="Hello")}
        self.gateway.calls.roster = Roster(agents=agents)
        plan = CallPlan(utterances=PLAN.utterances, wait_for_greeting=True)
        report = self.network.report(self.network.call(plan))
        self.assertEqual(report.error, "")
        self.assertGreater(len(self.gateway.replies), 1)
