"""One requested transfer."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.pending_transfer import PendingTransfer
from chime_gateway.errors import TransferFailed


class PendingTransferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transfer = PendingTransfer(self.clock, 30)

    def why(self) -> str:
        return str(self.failureResultOf(self.transfer.done, TransferFailed).value)

    def test_it_is_pending_until_a_report_comes(self) -> None:
        self.clock.advance(29.9)
        self.assertNoResult(self.transfer.done)
        self.assertFalse(self.transfer.is_over)

    def test_it_fires_when_the_caller_is_transferred(self) -> None:
        self.transfer.succeed()
        self.assertIsNone(self.successResultOf(self.transfer.done))
        self.assertTrue(self.transfer.is_over)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_fails_with_the_reported_reason(self) -> None:
        self.transfer.fail("nobody answered")
        self.assertEqual(self.why(), "nobody answered")
        self.assertTrue(self.transfer.is_over)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_a_report_it_fails(self) -> None:
        self.clock.advance(30)
        self.assertEqual(self.why(), "there was no report of the transfer")
        self.assertTrue(self.transfer.is_over)

    def test_the_text_of_that_failure_can_be_set(self) -> None:
        self.transfer = PendingTransfer(self.clock, 5, "the transfer was too slow")
        self.clock.advance(5)
        self.assertEqual(self.why(), "the transfer was too slow")

    def test_reports_after_the_end_are_ignored(self) -> None:
        self.transfer.fail("nobody answered")
        self.transfer.succeed()
        self.transfer.fail("again")
        self.clock.advance(60)
        self.assertEqual(self.why(), "nobody answered")

    def test_reports_after_the_timeout_are_ignored(self) -> None:
        self.clock.advance(30)
        self.transfer.succeed()
        self.assertEqual(self.why(), "there was no report of the transfer")

    def test_a_success_is_final(self) -> None:
        self.transfer.succeed()
        self.transfer.fail("the call is over")
        self.clock.advance(60)
        self.assertIsNone(self.successResultOf(self.transfer.done))

    def test_cancelling_it_causes_no_other_error(self) -> None:
        self.transfer.done.cancel()
        self.assertEqual(self.why(), "the transfer was cancelled")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_is_over_when_its_result_is_reported(self) -> None:
        told: list[bool] = []
        self.transfer.done.addBoth(lambda _: told.append(self.transfer.is_over))
        self.clock.advance(30)
        self.assertEqual(told, [True])
