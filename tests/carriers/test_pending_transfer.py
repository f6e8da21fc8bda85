"""One transfer that was asked for."""

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

    def test_until_something_is_heard_it_is_open(self) -> None:
        self.clock.advance(29.9)
        self.assertNoResult(self.transfer.done)
        self.assertFalse(self.transfer.is_over)

    def test_it_fires_when_the_other_side_has_gone(self) -> None:
        self.transfer.succeed()
        self.assertIsNone(self.successResultOf(self.transfer.done))
        self.assertTrue(self.transfer.is_over)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_fails_with_what_was_said(self) -> None:
        self.transfer.fail("nobody answered")
        self.assertEqual(self.why(), "nobody answered")
        self.assertTrue(self.transfer.is_over)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_of_which_nothing_is_heard_has_failed(self) -> None:
        self.clock.advance(30)
        self.assertEqual(self.why(), "there was no report of the transfer")
        self.assertTrue(self.transfer.is_over)

    def test_who_asks_has_words_of_its_own_for_that(self) -> None:
        self.transfer = PendingTransfer(self.clock, 5, "the transfer was too slow")
        self.clock.advance(5)
        self.assertEqual(self.why(), "the transfer was too slow")

    def test_what_is_heard_once_it_is_over_says_nothing_new(self) -> None:
        self.transfer.fail("nobody answered")
        self.transfer.succeed()
        self.transfer.fail("again")
        self.clock.advance(60)
        self.assertEqual(self.why(), "nobody answered")

    def test_what_is_heard_when_it_was_given_up_comes_too_late(self) -> None:
        self.clock.advance(30)
        self.transfer.succeed()
        self.assertEqual(self.why(), "there was no report of the transfer")

    def test_a_success_stands(self) -> None:
        self.transfer.succeed()
        self.transfer.fail("the call is over")
        self.clock.advance(60)
        self.assertIsNone(self.successResultOf(self.transfer.done))

    def test_who_waits_may_call_it_off_and_hears_of_no_other_error(self) -> None:
        self.transfer.done.cancel()
        self.assertEqual(self.why(), "the transfer was cancelled")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_by_the_time_that_it_is_told_it_is_over(self) -> None:
        told: list[bool] = []
        self.transfer.done.addBoth(lambda _: told.append(self.transfer.is_over))
        self.clock.advance(30)
        self.assertEqual(told, [True])
