"""Whole calls over the Kinesis carrier: the agent's utterances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from chime_gateway.net.aws.errors import AwsError
from chime_gateway.outcomes import Outcome
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from tests.whole_calls.kinesis_harness import PLAN, KinesisTestCase


class ReplyTests(KinesisTestCase):
    def trouble(self, operation: str, code: str, times: int = 1) -> None:
        left = [times]

        def ask(asked: str, parameters: Mapping[str, Any]) -> AwsError | None:
            if asked != operation or not left[0]:
                return None
            left[0] -= 1
            service = "s3" if operation == "PutObject" else "chime-sdk-voice"
            return AwsError(service, operation, code, "not now")

        self.gateway.aws.fault_plan = ask

    def test_an_utterance_that_cannot_be_stored_is_counted_and_the_call_continues(
        self,
    ) -> None:
        self.trouble("PutObject", "SlowDown")
        report = self.network.report(self.network.call(PLAN))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.assertGreater(self.record.media.dropped["not_stored"], 20)
        self.assertGreater(report.received_bytes, 8000)

    def test_if_nothing_can_be_stored_the_call_still_ends_properly(self) -> None:
        self.trouble("PutObject", "AccessDenied", times=100)
        plan = CallPlan(utterances=PLAN.utterances, answer_seconds=5)
        self.network.report(self.network.call(plan))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)

    def test_a_caller_who_has_gone_ends_the_call(self) -> None:
        self.trouble("UpdateSipMediaApplicationCall", "NotFoundException")
        self.network.call(PLAN)
        self.network.until(lambda: bool(self.gateway.records))
        self.assertEqual(self.record.ending.outcome, Outcome.COMPLETED)
        self.network.line().hang_up()

    def test_forbidden_updates_name_the_missing_permission(self) -> None:
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
        # While updates queue up, utterances are combined: far fewer updates than files.
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
    def test_a_function_that_takes_too_long_once_is_invoked_again(self) -> None:
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
