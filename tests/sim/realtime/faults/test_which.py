from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.faults.which import ALL, Which


class WhichTests(SynchronousTestCase):
    def test_a_range_includes_both_ends(self) -> None:
        for text, members in (
            ("", [1, 2, 3, 4]),
            ("2", [2]),
            ("1-3", [1, 2, 3]),
            ("3-", [3, 4]),
        ):
            with self.subTest(text=text):
                which = Which.read(text)
                self.assertEqual([n for n in range(1, 5) if n in which], members)
        self.assertEqual(Which.read(""), ALL)

    def test_an_invalid_range_is_refused(self) -> None:
        for text in ("-", "-3", "a", "1-2-3", "1 ", "1\n", "9999999"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                Which.read(text)
