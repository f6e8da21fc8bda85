"""A session that no longer hears the caller is detected; others are left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.succession.deafness import Deafness, Sign

LOOK = 0.1


class DeafnessTests(SynchronousTestCase):
    def run_for(
        self,
        seconds: float,
        *,
        loud: tuple[float, float],
        is_taken_to_speak: bool = False,
        answers: bool,
    ) -> list[Sign]:
        deafness = Deafness(0.0, 3.0)
        signs: list[Sign] = []
        event_at = 0.0
        for number in range(round(seconds / LOOK)):
            now = number * LOOK
            is_loud = loud[0] <= now < loud[1]
            deafness.look(now, event_at, is_loud=is_loud)
            sign = deafness.sign(now, is_taken_to_speak=is_taken_to_speak)
            if sign is not Sign.NONE:
                signs.append(sign)
            if sign is Sign.ASK and answers:
                event_at = now + 0.1
            if sign is Sign.DEAF:
                break
        return signs

    @given(st.floats(0.0, 5.0), st.floats(1.3, 30.0), st.booleans())
    def test_a_session_that_reports_nothing_of_a_speaking_caller_is_detected(
        self, begins: float, lasts: float, is_taken_to_speak: bool
    ) -> None:
        signs = self.run_for(
            begins + lasts + 6.0,
            loud=(begins, begins + lasts),
            is_taken_to_speak=is_taken_to_speak,
            answers=False,
        )
        self.assertEqual(signs, [Sign.ASK, Sign.DEAF])

    @given(st.floats(0.0, 5.0), st.floats(0.0, 30.0), st.booleans())
    def test_a_session_that_answers_is_never_given_up_and_probed_less_often(
        self, begins: float, lasts: float, is_taken_to_speak: bool
    ) -> None:
        signs = self.run_for(
            40.0,
            loud=(begins, begins + lasts),
            is_taken_to_speak=is_taken_to_speak,
            answers=True,
        )
        self.assertNotIn(Sign.DEAF, signs)
        self.assertLess(len(signs), 10)

    def test_a_click_is_not_speech(self) -> None:
        self.assertEqual(self.run_for(10.0, loud=(1.0, 1.3), answers=False), [])
