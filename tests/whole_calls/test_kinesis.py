"""Whole calls over the Kinesis carrier, in memory: what works, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.routing import Roster
from chime_gateway.call.tools.end_call import EndCall
from chime_gateway.carriers.kinesis import leg as kinesis_leg
from chime_gateway.carriers.kinesis import source as kinesis_source
from chime_gateway.cli.demo import prepare_call
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode
from chime_gateway.errors import TransferFailed
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.aws.sma import application
from chime_gateway.sim.aws.streams import _fragment
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.compare import correlation, piecewise_correlation
from chime_gateway.sim.caller.kinesis_line import BUCKET, QUEUE
from chime_gateway.sim.realtime.voices import Script
from tests.support.virtual_kinesis import VirtualGateway, VirtualNetwork
from tests.whole_calls.test_conversations import Files

PLAN = prepare_call(None, PCMU, interrupt_after=None)
CUT = prepare_call(None, PCMU, interrupt_after=1.2)


def samples(audio: bytes | bytearray) -> Samples:
    return decode(PCMU, bytes(audio))


def heard_by(gateway: VirtualGateway, call: int = 0) -> Samples:
    """What the agent was sent of the caller."""
    return samples(gateway.agents.sessions[call].log.appended)


class KinesisTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = VirtualNetwork()
        self.gateway = self.network.gateway()

    def tearDown(self) -> None:
        """Nothing stays behind."""
        stopping: list[Any] = []
        for gateway in self.gateways():
            done = Deferred.fromCoroutine(gateway.carrier.stop())
            done.addBoth(stopping.append)
        self.network.advance(3)
        self.assertEqual(stopping, [None] * len(stopping))
        for gateway in self.gateways():
            self.assertEqual(gateway.carrier.counts(), {"legs": 0, "requests": 0})
            gateway.control.stop()
        readers = [
            len(s.readers) for s in self.network.world.media.streams.streams.values()
        ]
        self.assertEqual(set(readers) - {0}, set())
        queues = self.network.world.media.queues.queues
        self.assertEqual([name for name in queues if "events" in name], [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def gateways(self) -> list[VirtualGateway]:
        return [self.gateway]

    def assertAnswered(self, report: CallReport, plan: CallPlan = PLAN) -> None:
        """The parrot said the last utterance back, and it was heard whole."""
        said = samples(plan.utterances[-1])
        median, least = piecewise_correlation(said, samples(report.heard), 2000)
        self.assertGreater(median, 0.99)
        self.assertGreater(least, 0.6)

    @property
    def record(self) -> Any:
        (record,) = self.gateway.records
        return record

    def left(self) -> int:
        """Messages of the queue that were not dealt with."""
        return len(self.network.world.media.queues.queues[QUEUE].messages)


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

    def test_a_call_that_is_not_bridged_talks_as_well(self) -> None:
        network = self.network = VirtualNetwork(is_bridged=False)
        self.gateway = network.gateway()
        call = network.call(PLAN)
        network.until(lambda: network.line()._was_answered)
        line = network.line()
        # It came in through a Voice Connector, whose transaction it is.
        line.begin_streaming("+12065550100", line.call.transaction_id)
        report = network.report(call)
        self.assertAnswered(report)
        # Pauses keep it alive between the utterances.
        self.assertIn("Pause", line.call.log)

    def test_utterances_are_private_wav_files_that_nobody_can_guess(self) -> None:
        self.network.report(self.network.call(PLAN))
        files = self.network.world.media.files.buckets[BUCKET]
        self.assertGreater(len(files), 1)
        for key, content in files.items():
            self.assertRegex(key, r"\Areplies/[A-Za-z0-9_-]{32}\.wav\Z")
            self.assertEqual(content[:4], b"RIFF")

    def test_the_agent_is_cut_short_and_told_what_was_heard(self) -> None:
        report = self.network.report(self.network.call(CUT))
        self.assertAnswered(report, CUT)
        ((_, told_ms, generated_ms),) = self.gateway.agents.sessions[0].log.truncations
        ((cut),) = report.interruptions
        self.assertLess(told_ms, generated_ms)
        # Right to one utterance is promised; the clock does much better.
        self.assertLess(abs(told_ms - cut.heard_ms), 150)
        self.assertEqual(report.stale_bytes, 0)
        self.assertEqual(self.record.media.barge_ins, 1)

    def test_an_agent_that_is_cut_before_it_is_heard_said_nothing(self) -> None:
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

    def test_without_reports_what_is_heard_follows_the_clock(self) -> None:
        self.network.hears = False
        self.gateway.agents.sessions.clear()
        report = self.network.report(self.network.call(PLAN))
        self.assertAnswered(report)
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)

    def test_goodbye_is_heard_before_the_caller_is_hung_up(self) -> None:
        # Also when AWS takes its time.
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

    def test_a_call_that_is_sent_on_is_over_when_the_target_answers(self) -> None:
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

    def test_a_caller_whom_the_target_does_not_take_is_back_with_the_agent(
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

    def test_a_transfer_that_takes_longer_than_is_waited_for_is_one(self) -> None:
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
        # Nobody hangs the caller up who talks with somebody else.
        self.assertFalse(line.call.is_over)
        line.hang_up()
        self.network.advance(1)

    def test_a_transfer_of_which_nothing_is_heard_cuts_nobody_off(self) -> None:
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


class NoticeTests(KinesisTestCase):
    def start(self) -> Deferred[CallReport]:
        call = self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        return call

    def copy(self, status: str) -> None:
        """The notices of that status come once more."""
        queues = self.network.world.media.queues
        for body in tuple(self.told):
            if json.loads(body)["detail"]["streamingStatus"] == status:
                queues.send(QUEUE, body)

    def setUp(self) -> None:
        super().setUp()
        self.told: list[str] = []
        send = self.network.world.media.queues.send

        def sending(name: str, body: str) -> None:
            if name == QUEUE:
                self.told.append(body)
            send(name, body)

        self.network.world.media.queues.send = sending  # type: ignore[method-assign]

    def test_the_other_leg_of_the_call_is_not_read(self) -> None:
        self.network.report(self.start())
        self.assertEqual(self.gateway.operations().count("GetMedia"), 1)
        self.assertEqual(self.gateway.carrier.notices["other_leg"], 1)

    def test_where_the_legs_are_mixed_up_the_other_one_is_read(self) -> None:
        gateway = self.network.gateway(leg="other")
        self.gateways = lambda: [self.gateway, gateway]  # type: ignore[method-assign]
        Deferred.fromCoroutine(self.gateway.carrier.stop())
        self.network.call(PLAN)
        self.network.advance(1)
        self.assertEqual(gateway.carrier.notices["taken"], 1)
        self.assertEqual(len(gateway.calls.calls()), 1)
        self.network.line().hang_up()
        self.network.advance(4)

    def test_a_notice_that_comes_twice_starts_one_call(self) -> None:
        call = self.start()
        self.copy("STARTED")
        self.network.advance(1)
        self.assertEqual(self.gateway.carrier.notices["duplicate"], 1)
        self.assertEqual(len(self.gateway.calls.calls()), 1)
        self.assertAnswered(self.network.report(call))
        self.assertEqual(len(self.gateway.records), 1)

    def test_a_start_that_comes_after_its_end_starts_nothing(self) -> None:
        self.network.report(self.start())
        self.copy("STARTED")
        self.network.advance(2)
        # Of both legs.
        self.assertEqual(self.gateway.carrier.notices["too_late"], 2)
        self.assertEqual(len(self.gateway.records), 1)

    def test_an_end_before_its_start_is_passed_on_and_then_dropped(self) -> None:
        queues = self.network.world.media.queues
        detail = {
            "streamingStatus": "ENDED",
            "transactionId": "t",
            "callId": "c",
            "toNumber": "+1206",
        }
        kind = "Chime VoiceConnector Streaming Status"
        queues.send(QUEUE, json.dumps({"detail-type": kind, "detail": detail}))
        self.network.advance(10)
        notices = self.gateway.carrier.notices
        self.assertEqual((notices["passed_on"], notices["of_nobody"]), (3, 1))
        self.assertEqual(self.left(), 0)

    def test_without_an_end_the_call_ends_when_its_stream_does(self) -> None:
        call = self.start()
        line = self.network.line()
        line._world.notify = lambda detail: None  # type: ignore[method-assign]
        self.network.hears = False
        self.network.advance(2)
        # The caller's side is gone, and nobody says so.
        line.caller.stop()
        line._streams.clear()
        self.network.advance(60)
        self.assertEqual(self.record.ending.outcome, Outcome.CALLER_LOST)
        self.assertIn("stream_stalled", self.record.ending.reason)
        self.assertNoResult(call) if not call.called else None

    def test_streaming_that_failed_ends_the_call(self) -> None:
        self.start()
        started = json.loads(self.told[-1])
        for body in self.told:
            if json.loads(body)["detail"]["isCaller"]:
                started = json.loads(body)
        started["detail"].update(
            streamingStatus="FAILED", failureReason="Internal failure"
        )
        self.network.world.media.queues.send(QUEUE, json.dumps(started))
        self.network.advance(5)
        self.assertEqual(self.record.ending.outcome, Outcome.CALLER_LOST)
        self.assertIn("Internal failure", self.record.ending.reason)

    def test_a_message_that_is_not_understood_is_set_aside(self) -> None:
        queues = self.network.world.media.queues
        queues._create({"QueueName": "aside"})
        policy = {"deadLetterTargetArn": queues.arn_of("aside"), "maxReceiveCount": 3}
        queues.queues[QUEUE].attributes["RedrivePolicy"] = json.dumps(policy)
        for body in ("no json", "[]", "{", '{"detail-type": 1}'):
            queues.send(QUEUE, body)
        call = self.start()
        self.assertAnswered(self.network.report(call))
        self.network.advance(300, 0.1)
        self.assertEqual(len(queues.queues["aside"].messages), 3)
        self.assertEqual(self.gateway.carrier.notices["foreign"], 1)
        self.assertEqual(self.left(), 0)

    def test_a_full_gateway_leaves_the_call_to_others(self) -> None:
        other = self.network.gateway()
        self.gateways = lambda: [self.gateway, other]  # type: ignore[method-assign]
        self.gateway.calls._limits = mock.Mock(
            wraps=self.gateway.calls._limits, max_calls=0
        )
        self.network.advance(25, 0.05)
        call = self.network.call(PLAN)
        self.assertAnswered(self.network.report(call))
        self.assertEqual(len(other.records), 1)
        self.assertEqual(len(self.gateway.records), 0)

    def test_gateways_compete_and_each_call_is_taken_once(self) -> None:
        other = self.network.gateway()
        self.gateways = lambda: [self.gateway, other]  # type: ignore[method-assign]
        calls = [self.network.call(PLAN) for _ in range(6)]
        reports: list[CallReport] = []
        for call in calls:
            call.addCallback(reports.append)
        self.network.until(lambda: len(reports) == 6)
        self.network.advance(8)
        for report in reports:
            self.assertAnswered(report)
        records = [*self.gateway.records, *other.records]
        self.assertEqual(len(records), 6)
        self.assertEqual({r.ending.outcome for r in records}, {Outcome.COMPLETED})
        self.assertEqual(self.left(), 0)

    def test_a_long_call_stays_with_its_gateway(self) -> None:
        other = self.network.gateway()
        self.gateways = lambda: [self.gateway, other]  # type: ignore[method-assign]
        self.network.call(CallPlan(utterances=PLAN.utterances * 12))
        self.network.advance(100, 0.02)
        calls = [*self.gateway.calls.calls(), *other.calls.calls()]
        self.assertEqual(len(calls), 1)
        for gateway in self.gateways():
            self.assertEqual(gateway.carrier.notices["duplicate"], 0)
        self.network.line().hang_up()
        self.network.advance(8)
        self.assertEqual(len(self.gateway.records) + len(other.records), 1)
        self.assertEqual(self.left(), 0)

    def test_a_gateway_that_broke_down_is_followed_by_another(self) -> None:
        self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        # It stops without a word: nothing is renewed, nothing is deleted.
        broken = self.gateway
        broken.carrier._renewing.stop()
        for loop in broken.carrier._loops:
            loop.cancel()
        for leg in list(broken.carrier._legs):
            leg._source.stop()
            leg._reply.close()
        for running in broken.calls.calls():
            broken.metronome.remove(running._tick)
        broken.control.stop()
        line = self.network.line()
        line.caller._plan = CallPlan(utterances=PLAN.utterances, answer_seconds=100)
        second = self.gateway = self.network.gateway()
        self.network.advance(70, 0.02)
        self.assertEqual(second.carrier.notices["taken"], 1)
        selectors = [
            parameters["StartSelector"]
            for operation, parameters in second.aws.asked
            if operation == "GetMedia"
        ]
        # What was said to the other is not said again.
        self.assertEqual(selectors[0]["StartSelectorType"], "NOW")
        line.hang_up()
        self.network.advance(8)
        self.assertEqual(len(second.records), 1)
        # The queue of the broken one stays: nobody else may take it away.
        self.network.world.media.queues.queues.pop(
            broken.carrier._events.rpartition("/")[2]
        )


class StreamTests(KinesisTestCase):
    def start(self) -> Deferred[CallReport]:
        call = self.network.call(PLAN)
        self.network.until(lambda: "GetMedia" in self.gateway.operations())
        return call

    @property
    def stream(self) -> Any:
        return self.network.line()._streams[True][0]

    def test_a_get_media_that_ends_is_followed_by_another_without_a_gap(self) -> None:
        call = self.start()
        for _ in range(4):
            self.network.advance(0.8)
            self.stream.end()
        report = self.network.report(call)
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)
        self.assertAnswered(report)
        notes = self.record.protocol_notes
        self.assertEqual(notes["stream_ended"], 4)

    def test_an_error_tag_is_followed_by_another_get_media(self) -> None:
        call = self.start()
        self.network.advance(1.2)
        self.stream.error("5000")
        report = self.network.report(call)
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)
        self.assertAnswered(report)
        self.assertEqual(self.record.protocol_notes["stream_error_5000"], 1)

    def test_before_forty_minutes_it_is_renewed_where_it_was_left(self) -> None:
        self.patch(kinesis_source, "RENEW_SECONDS", 0.7)
        report = self.network.report(self.start())
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)
        self.assertAnswered(report)
        self.assertGreater(self.record.protocol_notes["stream_renewed"], 3)
        selectors = [
            parameters["StartSelector"]["StartSelectorType"]
            for operation, parameters in self.gateway.aws.asked
            if operation == "GetMedia"
        ]
        self.assertEqual(selectors[0], "FRAGMENT_NUMBER")
        self.assertEqual(set(selectors[1:]), {"CONTINUATION_TOKEN"})

    def test_a_fragment_that_comes_twice_is_heard_once(self) -> None:
        call = self.start()
        stream = self.stream
        append = stream.append

        def twice(number: int, data: bytes) -> None:
            append(number, data)
            for reader in tuple(stream.readers):
                reader.write(data)

        stream.append = twice
        self.assertAnswered(self.network.report(call))
        score, _ = correlation(samples(PLAN.utterances[0]), heard_by(self.gateway))
        self.assertGreater(score, 0.999)

    def test_a_stream_that_goes_on_to_another_call_ends_this_one(self) -> None:
        self.start()
        self.network.advance(2)
        heard = len(heard_by(self.gateway))
        noise = np.random.default_rng(1).integers(-9000, 9000, 8000).astype("<i2")
        self.stream.write(noise.tobytes(), {"TransactionId": "x", "CallId": "y"})
        self.network.advance(1)
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.assertIn("another call", self.record.ending.reason)
        # Not one sample of the stranger came through.
        later = heard_by(self.gateway)[heard:]
        self.assertLess(len(later), 8000)
        self.assertLess(abs(correlation(noise[:2000], heard_by(self.gateway))[0]), 0.2)

    def test_what_the_stream_held_before_is_not_heard(self) -> None:
        world = self.network.world
        stream = world.stream()
        old = np.random.default_rng(1).integers(-9000, 9000, 20_000).astype("<i2")
        stream.write(old.tobytes(), {"TransactionId": "old", "CallId": "old"})
        world.give_back(world.stream())
        world.give_back(stream)
        report = self.network.report(self.start())
        self.assertAnswered(report)
        self.assertLess(abs(correlation(old[:4000], heard_by(self.gateway))[0]), 0.2)

    def test_what_is_of_somebody_else_at_first_is_not_heard(self) -> None:
        call = self.start()
        noise = np.random.default_rng(2).integers(-9000, 9000, 4096).astype("<i2")
        frames = [noise[at : at + 512].tobytes() for at in range(0, 4096, 512)]
        other = {"TransactionId": "x", "CallId": "y"}
        self.stream.append(self.stream.next_number(), _fragment(other, {}, 0, frames))
        self.assertAnswered(self.network.report(call))
        self.assertLess(abs(correlation(noise, heard_by(self.gateway))[0]), 0.2)

    def test_what_is_no_matroska_ends_the_call(self) -> None:
        self.start()
        for reader in tuple(self.stream.readers):
            reader.write(element_of_unknown_size())
        self.network.advance(3)
        self.assertEqual(self.record.ending.outcome, Outcome.CALLER_PROTOCOL_ERROR)

    def test_a_stream_that_may_not_be_read_names_the_permission(self) -> None:
        def denied(operation: str, parameters: Mapping[str, Any]) -> AwsError | None:
            if operation != "GetMedia":
                return None
            return AwsError(
                "kinesis-video-media", "GetMedia", "AccessDeniedException", "no"
            )

        self.gateway.aws.trouble = denied
        self.network.call(PLAN)
        self.network.advance(5)
        self.assertIn("kinesisvideo:GetMedia", self.record.ending.reason)
        # And the caller does not sit in silence.
        self.assertEqual(self.network.world.lines, {})


def element_of_unknown_size() -> bytes:
    return b"\xa3\xff" + bytes(100)


class ReplyTests(KinesisTestCase):
    def trouble(self, operation: str, code: str, times: int = 1) -> None:
        left = [times]

        def ask(asked: str, parameters: Mapping[str, Any]) -> AwsError | None:
            if asked != operation or not left[0]:
                return None
            left[0] -= 1
            service = "s3" if operation == "PutObject" else "chime-sdk-voice"
            return AwsError(service, operation, code, "not now")

        self.gateway.aws.trouble = ask

    def test_an_utterance_that_is_not_stored_is_counted_and_the_call_goes_on(
        self,
    ) -> None:
        self.trouble("PutObject", "SlowDown")
        report = self.network.report(self.network.call(PLAN))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.assertGreater(self.record.media.dropped["not_stored"], 20)
        self.assertGreater(report.received_bytes, 8000)

    def test_when_nothing_is_stored_the_call_still_ends_well(self) -> None:
        self.trouble("PutObject", "AccessDenied", times=100)
        plan = CallPlan(utterances=PLAN.utterances, answer_seconds=5)
        self.network.report(self.network.call(plan))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)

    def test_a_caller_who_is_gone_ends_the_call(self) -> None:
        self.trouble("UpdateSipMediaApplicationCall", "NotFoundException")
        self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.records))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.network.line().hang_up()

    def test_updates_that_are_forbidden_name_the_permission(self) -> None:
        self.trouble("UpdateSipMediaApplicationCall", "ForbiddenException", 2)
        self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.records))
        self.assertIn("chime:UpdateSipMediaApplicationCall", self.record.ending.reason)
        self.network.line().hang_up()

    def test_many_calls_share_the_quota_of_five_updates_a_second(self) -> None:
        reports: list[CallReport] = []
        plan = CallPlan(utterances=PLAN.utterances, answer_seconds=40)
        for _ in range(30):
            self.network.call(plan).addCallback(reports.append)
            self.network.advance(0.1)
        self.network.until(lambda: len(reports) == 30, most_seconds=120)
        self.network.advance(3)
        for report in reports:
            self.assertGreater(report.received_bytes, 5000)
        for record in self.gateway.records:
            self.assertEqual(record.ending.outcome, Outcome.COMPLETED)
        updates = self.gateway.operations().count("UpdateSipMediaApplicationCall")
        self.assertLessEqual(updates, 5 * self.network.clock.seconds() + 5)
        # In a line, utterances are told together: far fewer updates than files.
        self.assertLess(updates, self.gateway.operations().count("PutObject"))

    def test_a_file_that_cannot_be_played_does_not_stop_the_others(self) -> None:
        fetch = self.network.world.application.fetch
        broken: list[str] = []

        def fetching(bucket: str, key: str) -> bytes | None:
            if not broken:
                broken.append(key)
            return None if key in broken else fetch(bucket, key)

        self.network.world.application.fetch = fetching
        self.network.report(self.network.call(PLAN))
        self.assertGreater(self.record.media.dropped["not_played"], 20)
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)


class LambdaTests(KinesisTestCase):
    def test_a_function_that_takes_too_long_once_is_asked_again(self) -> None:
        function = self.network.world.application.function
        slow: list[Deferred[Any]] = []

        def sometimes(event: dict[str, Any]) -> Any:
            if event["InvocationEventType"] == "CALL_UPDATE_REQUESTED" and not slow:
                slow.append(Deferred())
                return slow[0]
            return function(event)

        self.network.world.application.function = sometimes
        report = self.network.report(self.network.call(PLAN))
        self.assertAnswered(report)
        self.assertEqual(len(slow), 1)

    def test_a_function_that_never_answers_ends_the_call(self) -> None:
        self.network.world.application.function = lambda event: Deferred()
        report = self.network.report(self.network.call(PLAN))
        self.assertIn("480", report.error)
        self.assertEqual(len(self.gateway.records), 0)
