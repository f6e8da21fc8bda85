"""Reports of the Lambda, from a fake queue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.kinesis.reports import LambdaReports
from chime_gateway.net.aws.errors import AwsError


class Queues:
    """
    Makes queues, and answers when the test says so.

    @ivar asked: the requested operations, with the queue.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.deleted: list[str] = []
        self.waiting: Deferred[dict[str, Any]] = Deferred()

    async def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float = 10.0,
        attempts: int = 4,
    ) -> dict[str, Any]:
        self.asked.append((operation, parameters.get("QueueUrl", "")))
        if operation == "CreateQueue":
            return {"QueueUrl": f"queue-{len(self.asked)}"}
        if operation == "ReceiveMessage":
            self.waiting = Deferred()
            return await self.waiting
        if operation == "DeleteMessageBatch":
            entries = parameters["Entries"]
            self.deleted += [entry["ReceiptHandle"] for entry in entries]
        return {}


class LambdaReportsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.queues = Queues()
        self.counts: Counter[str] = Counter()
        self.told: list[tuple[str, str, str]] = []
        self.reports = LambdaReports(
            self.queues,
            self.clock,
            "chimegw-events-",
            reported=lambda *report: self.told.append(report),
            do=lambda request: self.successResultOf(Deferred.fromCoroutine(request)),
            counts=self.counts,
        )
        self.assertEqual(self.reports.url, "")
        self.taking = Deferred.fromCoroutine(self.reports.take())

    def tearDown(self) -> None:
        self.taking.cancel()
        self.failureResultOf(self.taking, CancelledError)

    def come(self, *bodies: str) -> None:
        messages = [
            {"Body": body, "ReceiptHandle": str(at)} for at, body in enumerate(bodies)
        ]
        self.queues.waiting.callback({"Messages": messages} if messages else {})

    def test_reports_are_passed_on_and_deleted(self) -> None:
        self.come(
            json.dumps({"Transaction": "t", "Event": "played", "Key": "k"}),
            json.dumps({"Transaction": "t", "Event": "gone"}),
        )
        self.assertEqual(self.told, [("t", "played", "k"), ("t", "gone", "")])
        self.assertEqual(self.queues.deleted, ["0", "1"])
        self.come()
        self.assertEqual(self.queues.asked[-1], ("ReceiveMessage", self.reports.url))

    def test_malformed_reports_do_not_affect_the_others(self) -> None:
        good = json.dumps({"Transaction": "t", "Event": "played"})
        odd = json.dumps({"Transaction": ["t"], "Event": 1, "Key": None})
        self.come("", "[]", "{}", '"text"', "7", odd, good)
        self.assertEqual(self.told[-1], ("t", "played", ""))
        self.assertEqual(self.counts["malformed_report"], 5)
        self.assertEqual(len(self.queues.deleted), 7)

    def test_a_deleted_queue_is_made_again(self) -> None:
        before = self.reports.url
        code = "AWS.SimpleQueueService.QueueDoesNotExist"
        gone = AwsError("sqs", "ReceiveMessage", code, "gone")
        self.queues.waiting.errback(gone)
        self.assertEqual(self.reports.url, "")
        self.clock.advance(1.0)
        self.assertNotIn(self.reports.url, ("", before))

    def test_failed_requests_are_repeated_with_growing_pauses(self) -> None:
        before = self.reports.url
        for pause in (1.0, 2.0, 4.0):
            self.queues.waiting.errback(AwsError("sqs", "ReceiveMessage", "", "no"))
            asked = len(self.queues.asked)
            self.clock.advance(pause - 0.1)
            self.assertEqual(len(self.queues.asked), asked)
            self.clock.advance(0.1)
            self.assertEqual(len(self.queues.asked), asked + 1)
        self.assertEqual(self.reports.url, before)

    def test_at_the_end_the_queue_is_removed(self) -> None:
        url = self.reports.url
        self.successResultOf(Deferred.fromCoroutine(self.reports.stop()))
        self.assertEqual(self.queues.asked[-1], ("DeleteQueue", url))
