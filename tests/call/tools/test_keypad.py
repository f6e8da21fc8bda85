from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.tools.keypad import Collected, Keypad


class KeypadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.typed: list[str] = []
        self.keypad = Keypad(self.typed.append)

    def press(self, digits: str, now: float) -> None:
        for digit in digits:
            self.keypad.press(digit, now)

    def test_keys_that_follow_each_other_are_one_group(self) -> None:
        self.press("1", 0.0)
        self.press("2", 1.5)
        self.keypad.tick(3.4, False)
        self.assertEqual(self.typed, [])
        self.keypad.tick(3.5, False)
        self.assertEqual(self.typed, ["12"])
        self.assertFalse(self.keypad.is_waiting)

    def test_a_hash_ends_a_group_at_once(self) -> None:
        self.press("42#", 0.0)
        self.assertEqual(self.typed, ["42#"])

    def test_a_hash_alone_is_a_key(self) -> None:
        self.press("#", 0.0)
        self.keypad.tick(2.0, False)
        self.assertEqual(self.typed, ["#"])

    def test_a_caller_who_leans_on_the_keypad_fills_no_memory(self) -> None:
        self.press("7" * 1000, 0.0)
        self.keypad.tick(2.0, False)
        self.assertEqual(len(self.typed[0]), 64)

    def test_a_question_is_answered_by_its_terminator(self) -> None:
        asked = self.keypad.collect(8, "#", 5.0, 0.0)
        self.press("1234#", 1.0)
        self.assertEqual(self.successResultOf(asked), Collected("1234", "terminator"))
        self.assertEqual(self.typed, [])

    def test_a_question_is_answered_by_its_last_digit(self) -> None:
        asked = self.keypad.collect(4, "#", 5.0, 0.0)
        self.press("12345", 1.0)
        self.assertEqual(self.successResultOf(asked), Collected("1234", "complete"))
        self.keypad.tick(4.0, False)
        self.assertEqual(self.typed, ["5"])

    def test_each_key_restarts_the_timeout(self) -> None:
        asked = self.keypad.collect(8, "#", 5.0, 0.0)
        self.press("1", 4.0)
        self.keypad.tick(8.0, False)
        self.assertNoResult(asked)
        self.keypad.tick(9.0, False)
        self.assertEqual(self.successResultOf(asked), Collected("1", "timeout"))

    def test_the_timeout_does_not_run_while_the_agent_speaks(self) -> None:
        asked = self.keypad.collect(8, "#", 5.0, 0.0)
        self.keypad.tick(6.0, True)
        self.keypad.tick(10.9, False)
        self.assertNoResult(asked)
        self.keypad.tick(11.0, False)
        self.assertEqual(self.successResultOf(asked), Collected("", "timeout"))

    def test_without_a_terminator_a_hash_is_a_digit(self) -> None:
        asked = self.keypad.collect(3, "", 5.0, 0.0)
        self.press("1#2", 1.0)
        self.assertEqual(self.successResultOf(asked), Collected("1#2", "complete"))

    def test_a_second_question_ends_the_first(self) -> None:
        first = self.keypad.collect(8, "#", 5.0, 0.0)
        self.press("1", 0.5)
        self.keypad.collect(8, "#", 5.0, 1.0)
        self.assertEqual(self.successResultOf(first), Collected("1", "ended"))

    def test_digits_are_not_in_a_repr(self) -> None:
        self.assertNotIn("4711", repr(Collected("4711", "complete")))
