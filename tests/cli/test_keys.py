"""What C{--keys} takes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.cli.keys import read_keys


class ReadKeysTests(SynchronousTestCase):
    def test_keys_in_a_row_are_a_quarter_of_a_second_apart(self) -> None:
        self.assertEqual(read_keys("1#@2.5"), [(2.5, "1"), (2.75, "#")])
        self.assertEqual(read_keys("a@0"), [(0.0, "A")])

    def test_anything_else_says_what_is_expected(self) -> None:
        for text, expected in (
            ("", "DIGITS@SECONDS"),
            ("12", "DIGITS@SECONDS"),
            ("@3", "DIGITS@SECONDS"),
            ("1x@3", "DIGITS@SECONDS"),
            ("1@", "seconds after the @"),
            ("1@-1", "seconds after the @"),
            ("1@nan", "seconds after the @"),
            ("1@99999", "seconds after the @"),
            ("1@1\n", "seconds after the @"),
        ):
            with self.assertRaisesRegex(ValueError, expected):
                read_keys(text)
