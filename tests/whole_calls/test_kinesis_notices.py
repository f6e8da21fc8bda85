"""Whole calls over the Kinesis carrier: notices of the queue, and who handles them."""

from __future__ import annotations

import json
from unittest import mock

from attrs import evolve
from twisted.internet.defer import Deferred

from chime_gateway.outcomes import Outcome
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.kinesis_line import QUEUE
from tests.whole_calls.kinesis_harness import PLAN, KinesisTestCase


class NoticeTests(KinesisTestCase):
    def start(self) -> Deferred[CallReport]:
        call = self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        return call

    def copy(self, status: str) -> None:
        """Repeat the notices with this status."""
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

    def test_if_the_legs_are_mixed_up_the_other_leg_is_read(self) -> None:
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

    def test_a_start_after_its_end_starts_no_call(self) -> None:
        self.network.report(self.start())
        self.copy("STARTED")
        self.network.advance(2)
        # One for each leg.
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
        self.assertEqual((notices["passed_on"], notices["unmatched"]), (3, 1))
        self.assertEqual(self.left(), 0)

    def test_without_an_end_notice_the_call_ends_with_its_stream(self) -> None:
        call = self.start()
        line = self.network.line()
        line._world.notify = lambda detail: None  # type: ignore[method-assign]
        self.network.hears = False
        self.network.advance(2)
        # The caller's side has gone without a notice.
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

    def test_an_unknown_message_is_set_aside(self) -> None:
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

    def test_a_full_gateway_leaves_the_call_to_another(self) -> None:
        other = self.network.gateway()
        self.gateways = lambda: [self.gateway, other]  # type: ignore[method-assign]
        admission = self.gateway.calls.admission
        admission.limits = mock.Mock(wraps=admission.limits, max_calls=0)
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

    def test_a_gateway_that_crashed_is_replaced_by_another(self) -> None:
        self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.calls.calls()))
        # It crashes: nothing is renewed, and nothing is deleted.
        broken = self.gateway
        broken.carrier._renewing.stop()
        for loop in broken.carrier._loops:
            loop.cancel()
        for leg in list(broken.carrier._legs):
            leg._source.stop()
            leg._reply.close()
        for running in broken.calls.calls():
            running._beat.stop()
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
        # Commands sent by the other gateway are not repeated.
        self.assertEqual(selectors[0]["StartSelectorType"], "NOW")
        line.hang_up()
        self.network.advance(8)
        self.assertEqual(len(second.records), 1)
        # The crashed gateway's own queue stays: no other gateway may delete it.
        self.network.world.media.queues.queues.pop(
            broken.carrier._reports.url.rpartition("/")[2]
        )

    def test_a_paused_gateway_leaves_new_calls_to_others_and_keeps_its_own(
        self,
    ) -> None:
        first = self.start()
        other = self.network.gateway()
        self.gateways = lambda: [self.gateway, other]  # type: ignore[method-assign]
        self.gateway.carrier.pause()
        self.assertAnswered(self.network.report(self.network.call(PLAN)))
        self.assertEqual(len(other.records), 1)
        self.assertAnswered(self.network.report(first))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        other.carrier.pause()
        self.gateway.carrier.resume()
        self.network.advance(25, 0.05)
        self.assertAnswered(self.network.report(self.network.call(PLAN)))
        self.assertEqual(len(self.gateway.records), 2)
        self.assertEqual(self.left(), 0)

    def test_of_two_calls_for_one_place_the_second_waits(self) -> None:
        """Both notices come in one answer of the queue."""
        admission = self.gateway.calls.admission
        admission.limits = evolve(admission.limits, max_calls=1)
        self.gateway.carrier.pause()
        self.network.advance(25, 0.05)
        reports: list[CallReport] = []
        for _ in range(2):
            self.network.call(PLAN).addCallback(reports.append)
        self.network.advance(1)
        self.gateway.carrier.resume()
        # Whoever waits may have hung up by the time there is a place.
        self.network.until(lambda: len(self.gateway.records) == 2, 120)
        self.network.advance(8)
        self.assertEqual(len(reports), 2)
        notices = self.gateway.carrier.notices
        self.assertGreater(notices["given_back"], 0)
        self.assertEqual(notices["taken"], 2)
        self.assertEqual(self.left(), 0)

    def test_a_gateway_that_stops_hangs_its_callers_up(self) -> None:
        call = self.start()
        stopping = Deferred.fromCoroutine(self.gateway.carrier.stop())
        self.network.report(call)
        self.assertEqual(self.successResultOf(stopping), None)
        self.assertIn("UpdateSipMediaApplicationCall", self.gateway.operations())
