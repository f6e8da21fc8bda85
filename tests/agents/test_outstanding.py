from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.outstanding import OVERDUE_SECONDS, Kind, Outstanding


class OutstandingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.outstanding = Outstanding(lambda: self.now)

    def test_an_answer_that_names_nothing_is_for_the_oldest_of_its_kind(self) -> None:
        first = self.outstanding.ask(Kind.RESPONSE, {"n": 1})
        self.outstanding.ask(Kind.CANCEL, {})
        second = self.outstanding.ask(Kind.RESPONSE, {"n": 2})
        self.assertIs(self.outstanding.answer(Kind.RESPONSE), first)
        self.assertIs(self.outstanding.answer(Kind.RESPONSE), second)
        self.assertIsNone(self.outstanding.answer(Kind.RESPONSE))
        self.assertEqual(len(self.outstanding), 1)

    def test_an_answer_that_names_something_is_for_what_was_about_it(self) -> None:
        self.outstanding.ask(Kind.TRUNCATE, {}, "a")
        second = self.outstanding.ask(Kind.TRUNCATE, {}, "b")
        self.assertIs(self.outstanding.answer(Kind.TRUNCATE, "b"), second)
        self.assertIsNone(self.outstanding.answer(Kind.TRUNCATE, "b"))

    def test_every_command_has_an_id_of_its_own(self) -> None:
        ids = {self.outstanding.ask(Kind.ITEM, {}).id for _ in range(50)}
        self.assertEqual(len(ids), 50)

    def test_a_refusal_names_the_command(self) -> None:
        self.outstanding.ask(Kind.RESPONSE, {})
        second = self.outstanding.ask(Kind.TRANSCRIPT, {}, "item")
        self.assertIs(self.outstanding.refuse(second.id), second)
        self.assertIsNone(self.outstanding.refuse(second.id))
        self.assertIsNone(self.outstanding.refuse(""))
        self.assertIsNone(self.outstanding.refuse("somebody else's"))

    def test_what_seemed_to_be_answered_can_still_be_refused(self) -> None:
        """The event was for a response of the VAD's, then the error comes."""
        asked = self.outstanding.ask(Kind.RESPONSE, {"n": 1})
        self.outstanding.answer(Kind.RESPONSE)
        self.assertIs(self.outstanding.refuse(asked.id), asked)

    def test_a_command_that_nobody_answers_is_overdue_once(self) -> None:
        first = self.outstanding.ask(Kind.RESPONSE, {})
        self.now += OVERDUE_SECONDS - 0.1
        second = self.outstanding.ask(Kind.RESPONSE, {})
        self.assertEqual(self.outstanding.take_overdue(), [])
        self.now += 0.1
        self.assertEqual(self.outstanding.take_overdue(), [first])
        self.assertEqual(self.outstanding.take_overdue(), [])
        self.assertIs(self.outstanding.oldest(Kind.RESPONSE), second)

    def test_a_service_that_never_answers_costs_no_memory(self) -> None:
        for _ in range(10_000):
            self.outstanding.ask(Kind.ITEM, {})
        self.assertLessEqual(len(self.outstanding), 256)

    def test_a_command_can_be_withdrawn(self) -> None:
        asked = self.outstanding.ask(Kind.RESPONSE, {})
        self.outstanding.withdraw(asked)
        self.outstanding.withdraw(asked)
        self.assertIsNone(self.outstanding.oldest(Kind.RESPONSE))
