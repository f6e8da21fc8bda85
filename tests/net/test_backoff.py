"""Pauses between attempts."""

from __future__ import annotations

from math import inf, nan

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.backoff import BackOff


class BackOffTests(SynchronousTestCase):
    def test_pauses_follow_failures_in_a_row_and_the_last_one_repeats(self) -> None:
        back_off = BackOff((2.0, 5.0, 15.0))
        self.assertEqual([back_off.pause(n) for n in range(1, 6)], [2, 5, 15, 15, 15])

    def test_pauses_double_up_to_the_longest(self) -> None:
        back_off = BackOff.doubling(0.5, 30)
        self.assertEqual(back_off.pauses, (0.5, 1, 2, 4, 8, 16, 30))
        self.assertEqual(BackOff.doubling(2, 2).pauses, (2,))

    def test_any_number_of_failures_has_a_pause(self) -> None:
        back_off = BackOff.doubling(0.5, 30)
        for failures in (1024, 10**6, 10**400):
            self.assertEqual(back_off.pause(failures), 30)

    def test_without_a_failure_it_is_the_first_pause(self) -> None:
        self.assertEqual(BackOff((2.0, 5.0)).pause(0), 2)

    def test_jitter_scales_a_pause_within_its_spread(self) -> None:
        back_off = BackOff((10.0,), spread=(0.5, 1.5))
        self.assertEqual(
            [back_off.pause(1, jitter) for jitter in (0.0, 0.5, 1.0)], [5, 10, 15]
        )

    def test_without_a_spread_jitter_changes_nothing(self) -> None:
        back_off = BackOff((10.0,))
        self.assertEqual([back_off.pause(1, jitter) for jitter in (0.0, 1.0)], [10, 10])

    def test_impossible_pauses_are_rejected(self) -> None:
        self.assertRaises(ValueError, BackOff, ())
        for first, longest in ((0, 1), (-1, 1), (2, 1), (1, inf), (nan, 1)):
            self.assertRaises(ValueError, BackOff.doubling, first, longest)
