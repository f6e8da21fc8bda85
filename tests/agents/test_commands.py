from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.commands import OVERDUE_SECONDS, Commands, Kind, SentCommand


class Socket:
    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        self.sent.append(json.loads(payload))
        return True


class CommandsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.overdue: list[SentCommand] = []
        self.commands = Commands(lambda: self.now, self.overdue.append)
        self.socket = self.commands.socket = Socket()

    def ask(self, kind: Kind, about: str = "", **command: object) -> str:
        """@return: the id that the command was sent with."""
        self.commands.ask(kind, command, about)
        return str(self.socket.sent[-1]["event_id"])

    def answered(self, kind: Kind, about: str = "") -> str | None:
        sent = self.commands.answer(kind, about)
        return None if sent is None else sent.id

    def refused(self, command_id: str) -> str | None:
        sent = self.commands.refuse(command_id)
        return None if sent is None else sent.id

    def test_a_command_is_sent_with_an_id_of_its_own(self) -> None:
        ids = {self.ask(Kind.ITEM, type="x") for _ in range(50)}
        self.assertEqual(len(ids), 50)
        self.assertEqual(self.socket.sent[0]["type"], "x")

    def test_an_answer_without_a_subject_is_for_the_oldest_command_of_its_kind(
        self,
    ) -> None:
        first = self.ask(Kind.RESPONSE)
        self.ask(Kind.CANCEL)
        second = self.ask(Kind.RESPONSE)
        self.assertEqual(self.answered(Kind.RESPONSE), first)
        self.assertEqual(self.answered(Kind.RESPONSE), second)
        self.assertIsNone(self.answered(Kind.RESPONSE))
        self.assertEqual(len(self.commands), 1)

    def test_an_answer_with_a_subject_is_for_the_command_about_it(self) -> None:
        self.ask(Kind.TRUNCATE, "a")
        second = self.ask(Kind.TRUNCATE, "b")
        self.assertEqual(self.answered(Kind.TRUNCATE, "b"), second)
        self.assertIsNone(self.answered(Kind.TRUNCATE, "b"))

    def test_a_refusal_names_the_command(self) -> None:
        self.ask(Kind.RESPONSE)
        second = self.ask(Kind.TRANSCRIPT, "item")
        self.assertEqual(self.refused(second), second)
        for unknown in (second, "", "somebody else's"):
            self.assertIsNone(self.refused(unknown))

    def test_a_command_that_seemed_answered_can_still_be_refused(self) -> None:
        """The event was about a response of the VAD; then the error arrives."""
        sent = self.ask(Kind.RESPONSE)
        self.answered(Kind.RESPONSE)
        self.assertEqual(self.refused(sent), sent)

    def test_an_unanswered_command_is_reported_overdue_once(self) -> None:
        first = self.ask(Kind.RESPONSE)
        self.now += OVERDUE_SECONDS - 0.1
        second = self.ask(Kind.RESPONSE)
        self.assertEqual(self.overdue, [])
        self.now += 0.1
        self.assertTrue(self.commands.is_waiting(Kind.RESPONSE))
        self.assertEqual([sent.id for sent in self.overdue], [first])
        self.now += OVERDUE_SECONDS
        self.assertFalse(self.commands.is_waiting(Kind.RESPONSE))
        self.assertEqual([sent.id for sent in self.overdue], [first, second])

    def test_a_service_that_never_answers_costs_no_memory(self) -> None:
        for _ in range(10_000):
            self.ask(Kind.ITEM)
        self.assertLessEqual(len(self.commands), 256)

    def test_without_a_connection_nothing_is_sent(self) -> None:
        self.commands.socket = None
        self.commands.ask(Kind.RESPONSE, {})
        self.assertFalse(self.commands.is_waiting(Kind.RESPONSE))
