from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.conversation.owed_answer import OwedAnswer

_SECONDS = 20.0

_EVENTS = st.lists(
    st.tuples(
        st.sampled_from((0.0, 1.0, 15.0)),
        st.sampled_from(
            (
                *("asked", "turn", "started", "audio", "tool", "sign"),
                *("completed", "empty", "silent", "failed", "incomplete", "cancelled"),
            )
        ),
    ),
    max_size=14,
)


class OwedAnswerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.answer = OwedAnswer(lambda: self.now, _SECONDS)

    def is_overdue_after(self, seconds: float) -> bool:
        return self.answer.is_overdue(self.now + seconds)

    @given(_EVENTS)
    def test_an_answer_is_owed_until_it_is_given(
        self, schedule: Sequence[tuple[float, str]]
    ) -> None:
        """Responses follow each other, as the service makes them."""
        self.setUp()
        making, number, has_come = False, 0, False
        is_owed, is_new = False, False
        for seconds, what in schedule:
            self.now += seconds
            if what == "asked":
                self.answer.expect()
                is_owed = is_new = True
            elif what == "turn":
                self.answer.caller_began()
                self.assertFalse(self.is_overdue_after(1e6))
                self.answer.caller_stopped()
                is_owed = is_new = True
            elif what == "started" and not making:
                number += 1
                self.answer.response_started(f"r{number}")
                making, is_new, has_come, is_owed = True, False, False, True
            elif what == "audio" and making:
                self.answer.audio_came(f"r{number}")
                has_come = True
            elif what == "tool" and making:
                self.answer.tool_called()
                has_come = True
            elif what == "sign":
                self.answer.sign_of_life()
            elif making and what not in ("started", "audio", "tool"):
                self.answer.response_done(f"r{number}", what)
                making = False
                # A silent response has no audio.
                is_nothing = what in ("failed", "silent")
                gives = what == "completed" or (has_come and not is_nothing)
                is_owed = is_owed and (is_new or not gives)
        self.assertIs(self.is_overdue_after(_SECONDS), is_owed)

    @given(
        st.lists(
            st.tuples(
                st.floats(0.0, 15.0),
                st.sampled_from(("empty", "failed", "incomplete", "cancelled")),
                st.floats(0.0, 15.0),
            ),
            min_size=2,
            max_size=12,
        )
    )
    def test_failed_responses_do_not_extend_the_time_forever(
        self, responses: Sequence[tuple[float, str, float]]
    ) -> None:
        """However many responses the service begins itself."""
        self.setUp()
        self.answer.caller_stopped()
        latest = None
        for number, (pause, status, seconds) in enumerate(responses):
            self.now += pause
            self.answer.response_started(f"r{number}")
            self.now += seconds
            self.answer.sign_of_life()
            self.answer.response_done(f"r{number}", status)
            latest = latest or self.now + _SECONDS
        assert latest is not None
        self.assertTrue(self.answer.is_overdue(max(self.now, latest)))

    def test_activity_during_a_response_extends_the_time(self) -> None:
        self.answer.expect()
        self.now += 15.0
        self.answer.sign_of_life()
        self.assertTrue(self.is_overdue_after(5.0))
        self.answer.response_started("r")
        self.now += 15.0
        self.answer.sign_of_life()
        self.assertFalse(self.is_overdue_after(19.0))

    def test_nothing_is_overdue_while_the_caller_speaks(self) -> None:
        self.answer.caller_began()
        self.answer.expect()
        self.answer.response_started("r")
        self.assertFalse(self.is_overdue_after(1e6))
        self.answer.caller_stopped()
        self.assertTrue(self.is_overdue_after(_SECONDS))

    def test_a_response_that_began_before_the_question_does_not_settle_it(
        self,
    ) -> None:
        self.answer.caller_stopped()
        self.answer.response_started("to the turn")
        self.answer.expect()
        self.answer.audio_came("to the turn")
        self.answer.response_done("to the turn", "completed")
        self.assertTrue(self.is_overdue_after(_SECONDS))

    def test_chosen_silence_is_reported_before_it_is_a_fault(
        self,
    ) -> None:
        self.answer.caller_stopped()
        for _ in range(2):
            self.answer.response_started("r")
            self.answer.response_done("r", "silent")
            self.assertFalse(self.answer.take_silence(self.now + _SECONDS / 2 - 1.0))
            self.now += _SECONDS / 2
            self.assertTrue(self.answer.take_silence(self.now))
            self.assertFalse(self.answer.take_silence(self.now))
            self.assertFalse(self.is_overdue_after(_SECONDS - 1.0))
            self.assertTrue(self.is_overdue_after(_SECONDS))
            self.assertFalse(self.answer.take_silence(self.now + _SECONDS))

    def test_a_caller_who_speaks_ends_a_chosen_silence(self) -> None:
        self.answer.caller_stopped()
        self.answer.response_started("r")
        self.answer.response_done("r", "silent")
        self.answer.caller_began()
        self.answer.caller_stopped()
        self.assertFalse(self.answer.take_silence(self.now + _SECONDS))
        self.assertTrue(self.is_overdue_after(_SECONDS))
