from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.media.playout_clock import Playout

RATE = 8000  # bytes a second: 8 a millisecond


class PlayoutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.playout = Playout(RATE)

    def test_without_audio_nothing_is_heard(self) -> None:
        self.assertEqual(self.playout.head(5.0), 0)
        self.assertTrue(self.playout.is_idle(5.0))

    def test_audio_is_heard_in_real_time_after_it_was_handed_over(self) -> None:
        self.playout.play(8000, 10.0)
        heard = [self.playout.head(10.0 + t) for t in (0.0, 0.25, 1.0, 9.0)]
        self.assertEqual(heard, [0, 2000, 8000, 8000])
        self.assertFalse(self.playout.is_idle(10.9))
        self.assertTrue(self.playout.is_idle(11.0))

    def test_a_burst_is_heard_one_piece_after_the_other(self) -> None:
        self.playout.play(800, 0.0)
        self.playout.play(800, 0.0)
        self.assertEqual(self.playout.head(0.15), 1200)

    def test_after_running_dry_the_clock_starts_anew(self) -> None:
        self.playout.play(800, 0.0)
        self.playout.play(800, 5.0)
        self.assertEqual(self.playout.head(5.05), 1200)

    def test_a_late_mark_shows_how_far_behind_the_carrier_is(self) -> None:
        self.playout.play(160, 0.0)
        self.playout.mark_sent("m1")
        self.playout.play(7840, 0.0)
        # The carrier began 180 ms late: the first frame was over at 200 ms.
        self.assertTrue(self.playout.mark_reached("m1", 0.2))
        self.assertEqual(self.playout.head(0.2), 160)
        self.assertEqual(self.playout.head(0.3), 960)
        self.assertFalse(self.playout.is_idle(1.17))
        self.assertTrue(self.playout.is_idle(1.19))

    def test_a_mark_that_comes_back_at_once_is_ignored(self) -> None:
        self.playout.play(8000, 0.0)
        self.playout.mark_sent("m1")
        self.playout.mark_reached("m1", 0.01)
        self.assertEqual(self.playout.head(0.5), 4000)

    @given(st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.1)), max_size=20))
    def test_no_mark_makes_a_carrier_faster_than_the_clock(
        self, frames: list[tuple[float, float]]
    ) -> None:
        """@param frames: the time after the last one, and until the mark is back."""
        self.playout = Playout(RATE)
        now = dry_at = 0.0
        for wait, back in frames:
            now += wait
            dry_at = max(now, dry_at) + 0.02
            self.playout.play(160, now)
            self.playout.mark_sent("m")
            now += back
            self.playout.mark_reached("m", now)
            self.assertGreaterEqual(self.playout.dry_at, dry_at - 1e-6)

    def test_a_missing_mark_shows_that_the_carrier_stalls(self) -> None:
        self.playout.play(160, 0.0)
        self.playout.mark_sent("m1")
        self.playout.play(1440, 0.0)
        self.playout.mark_sent("m2")
        self.playout.play(6400, 0.0)
        self.playout.mark_reached("m1", 0.02)
        self.assertEqual(self.playout.head(0.25), 2000)
        self.assertEqual(self.playout.head(0.9), 1600)
        self.assertFalse(self.playout.is_idle(1.5))

    def test_a_returned_mark_covers_the_earlier_ones(self) -> None:
        self.playout.play(800, 0.0)
        self.playout.mark_sent("m1")
        self.playout.mark_sent("m2")
        self.assertTrue(self.playout.mark_reached("m2", 0.1))
        self.assertFalse(self.playout.mark_reached("m1", 0.1))

    def test_marks_that_return_after_a_clear_are_ignored(self) -> None:
        self.playout.play(8000, 0.0)
        self.playout.mark_sent("m1")
        self.playout.clear(0.25)
        self.assertEqual(self.playout.sent, 2000)
        self.assertFalse(self.playout.mark_reached("m1", 0.26))
        self.assertEqual(self.playout.head(9.0), 2000)
        self.assertTrue(self.playout.is_idle(0.25))

    def test_a_lost_mark_does_not_delay_the_end_for_ever(self) -> None:
        self.playout.play(160, 0.0)
        self.playout.mark_sent("m1")
        self.playout.mark_reached("m1", 0.02)
        self.playout.play(160, 0.03)
        self.playout.mark_sent("m2")
        self.assertFalse(self.playout.is_idle(1.0))
        self.assertTrue(self.playout.is_idle(4.0))

    def test_unknown_marks_are_ignored(self) -> None:
        self.assertFalse(self.playout.mark_reached("stranger", 1.0))
