"""Control of calls through the SIP media application, and its quotas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.validate import ParamValidator
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.call_control import CallGone, SmaControl
from chime_gateway.errors import CallRefused, TransferFailed
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.net.rate_limit import Quota
from chime_gateway.outcomes import CallerInfo
from chime_gateway.sim.aws.protocol import model_of

TRANSACTION = "f47ac10b-58cc-4372-a567-0e02b2c3d479"


class RecordingAws:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any], int]] = []
        self.error: AwsError | None = None

    async def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float = 10.0,
        attempts: int = 4,
    ) -> dict[str, Any]:
        shape = model_of(service).operation_model(operation).input_shape
        report = ParamValidator().validate(dict(parameters), shape)
        assert not report.has_errors(), report.generate_report()
        self.asked.append((operation, parameters, attempts))
        if self.error is not None:
            raise self.error
        return {"SipMediaApplicationCall": {"TransactionId": TRANSACTION}}


def refusal(code: str) -> AwsError:
    return AwsError("chime-sdk-voice", "UpdateSipMediaApplicationCall", code, "no")


class QuotaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.quota = Quota(5.0, 5.0, self.clock)
        self.turns: list[str] = []

    def wait(self, name: str, *, urgent: bool = False) -> Deferred[None]:
        turn = self.quota.turn(urgent=urgent)
        turn.addCallbacks(lambda _: self.turns.append(name), lambda _: None)
        return turn

    def test_a_burst_goes_at_once_and_the_rest_at_the_rate(self) -> None:
        for n in range(15):
            self.wait(str(n))
        self.assertEqual(len(self.turns), 5)
        for _ in range(100):
            self.clock.advance(0.01)
        self.assertIn(len(self.turns), (9, 10))
        for _ in range(150):
            self.clock.advance(0.01)
        self.assertEqual(self.turns, [str(n) for n in range(15)])

    def test_an_urgent_request_goes_first(self) -> None:
        for n in range(10):
            self.wait(str(n))
        self.wait("urgent", urgent=True)
        self.clock.advance(0.2)
        self.assertEqual(self.turns[5], "urgent")

    def test_a_cancelled_request_leaves_the_queue(self) -> None:
        waiting = [self.wait(str(n)) for n in range(8)]
        waiting[5].cancel()
        for _ in range(100):
            self.clock.advance(0.02)
        self.assertEqual(self.turns, ["0", "1", "2", "3", "4", "6", "7"])
        self.assertEqual(self.quota.waiting, 0)

    def test_a_stopped_quota_has_no_waiting_requests(self) -> None:
        for n in range(8):
            self.wait(str(n))
        self.quota.stop()
        self.assertEqual(self.quota.waiting, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TransferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.aws = RecordingAws()
        self.control = SmaControl(self.aws, "application", self.clock)
        self.info = CallerInfo(stream_id=TRANSACTION)

    def test_a_transfer_is_requested_from_the_lambda(self) -> None:
        done = self.control.transfer(self.info, "+12065550177")
        self.assertIsNone(self.successResultOf(done))
        ((operation, parameters, _),) = self.aws.asked
        self.assertEqual(operation, "UpdateSipMediaApplicationCall")
        self.assertEqual(
            parameters,
            {
                "SipMediaApplicationId": "application",
                "TransactionId": TRANSACTION,
                "Arguments": {"Action": "transfer", "Target": "+12065550177"},
            },
        )
        self.assertEqual(self.control.counts["taken"], 1)

    def failing(self, info: CallerInfo, target: str) -> str:
        failure = self.failureResultOf(
            self.control.transfer(info, target), TransferFailed
        )
        return str(failure.value)

    def test_a_call_without_an_application_cannot_be_transferred(self) -> None:
        told = self.failing(CallerInfo(), "+12065550177")
        self.assertIn("X-Transaction-Id", told)

    def test_only_numbers_and_extensions_are_targets(self) -> None:
        for target in (
            "",
            "911",
            "+1 2o6",
            "sip:",
            "sip:a@b",
            "sip:+12065550100@b",
            "http://x",
            "+1;x=y",
        ):
            self.failing(self.info, target)
        self.assertEqual(self.aws.asked, [])
        self.successResultOf(self.control.transfer(self.info, "sip:desk7"))

    def test_refusals_have_a_reason(self) -> None:
        self.aws.error = refusal("NotFoundException")
        self.assertIn("has left", self.failing(self.info, "+12065550177"))
        self.aws.error = refusal("ForbiddenException")
        told = self.failing(self.info, "+12065550177")
        self.assertIn("allow chime:UpdateSipMediaApplicationCall", told)
        self.aws.error = refusal("ThrottledClientException")
        self.assertIn("over a quota", self.failing(self.info, "+12065550177"))
        self.assertEqual(
            dict(self.control.counts), {"gone": 1, "failed": 1, "throttled": 1}
        )

    def test_a_caller_who_has_left_is_a_failure_of_its_own(self) -> None:
        self.aws.error = refusal("NotFoundException")
        update = self.control.update(TRANSACTION, {"Action": "hangup"})
        self.failureResultOf(Deferred.fromCoroutine(update), CallGone)


class OutboundCallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.aws = RecordingAws()
        self.clock = Clock()
        self.control = SmaControl(self.aws, "application", self.clock)

    def create(self, to_number: str = "+15105550101") -> Deferred[str]:
        creating = self.control.create_call(
            "+12065550100", to_number, {"agent": "sales"}
        )
        return Deferred.fromCoroutine(creating)

    def test_the_application_calls_and_returns_the_transaction_id(self) -> None:
        self.assertEqual(self.successResultOf(self.create()), TRANSACTION)
        ((_, parameters, attempts),) = self.aws.asked
        self.assertEqual(parameters["ArgumentsMap"], {"agent": "sales"})
        # A second attempt could ring twice.
        self.assertEqual(attempts, 1)

    def test_the_quota_is_one_call_a_second(self) -> None:
        calls = [self.create() for _ in range(3)]
        self.assertEqual([call.called for call in calls], [True, False, False])
        for _ in range(4):
            self.clock.advance(0.5)
        self.assertEqual([call.called for call in calls], [True, True, True])

    def test_an_invalid_number_is_not_called(self) -> None:
        for number in ("", "911", "+0123", "sip:x@y"):
            self.failureResultOf(self.create(number), CallRefused)
        self.assertEqual(self.aws.asked, [])

    def test_a_refusal_names_the_permission(self) -> None:
        self.aws.error = AwsError(
            "chime-sdk-voice", "CreateSipMediaApplicationCall", "AccessDenied", "no"
        )
        failure = self.failureResultOf(self.create(), CallRefused)
        self.assertIn("chime:CreateSipMediaApplicationCall", str(failure.value))
