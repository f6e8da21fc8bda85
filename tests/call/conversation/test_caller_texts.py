"""What callers say is transcribed, or is not."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent, globalLogPublisher

from tests.support.conversation import GONE, ConversationTestCase


class TranscriptionTests(ConversationTestCase):
    """Three reasons for a missing transcript; the call continues in each case."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        observer: Any = self._logged
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def _logged(self, event: dict[str, Any]) -> None:
        text = formatEvent(event)
        if "not transcribed" in text:
            self.lines.append(text)

    def turn(self, number: int) -> None:
        self.talk.speech_started(f"u{number}")
        self.run_for(0.2)
        self.talk.speech_stopped(f"u{number}")
        # The agent has to answer, or it would be given up.
        self.response()
        self.done()

    def settled(self) -> int:
        return self.kinds().count("turn.completed")

    def test_a_turn_that_fails_is_settled_at_once_without_a_text(self) -> None:
        self.turn(1)
        self.talk.transcription_failed("u1", "failed", "DeploymentNotFound: none")
        self.run_for(0.6)
        self.assertEqual(self.settled(), 1)
        self.assertEqual(self.measures.texts_missed, ["failed"])
        self.assertEqual(self.measures.records, [])

    def test_after_a_refusal_no_text_is_waited_for(self) -> None:
        self.talk.transcription_failed("", "refused", "invalid_value: model")
        for number in range(3):
            self.turn(number)
            self.run_for(0.6)
            self.assertEqual(self.settled(), number + 1)
        self.assertEqual(self.measures.texts_missed, ["refused"])

    def test_missing_texts_are_counted_and_not_awaited_after_three_turns(self) -> None:
        for number in range(3):
            self.turn(number)
            self.run_for(14.0)
            self.assertEqual(self.settled(), number)
            self.run_for(1.6)
            self.assertEqual(self.settled(), number + 1)
        self.turn(4)
        self.run_for(0.6)
        self.assertEqual(self.settled(), 4)
        self.assertEqual(self.measures.texts_missed, ["silent"] * 3)

    def test_texts_are_awaited_again_once_one_arrives(self) -> None:
        for number in range(3):
            self.turn(number)
            self.talk.transcription_failed(f"u{number}", "failed", "busy")
        self.talk.caller_said("u2", "late")
        self.run_for(0.6)
        self.turn(5)
        self.run_for(0.6)
        self.assertEqual(self.settled(), 3)
        self.talk.caller_said("u5", "Hello")
        self.run_for(0.6)
        self.assertEqual(self.settled(), 4)

    def test_it_is_logged_once_per_call_and_counted_in_the_record(self) -> None:
        for number in range(5):
            self.turn(number)
            self.talk.transcription_failed(f"u{number}", "failed", "busy")
        self.call.leg_ended(GONE)
        self.assertEqual(len(self.lines), 1)
        self.assertIn("transcription_model", self.lines[0])
        notes = self.measures.records[0].protocol_notes
        self.assertEqual(notes["transcription_failed"], 5)

    def test_a_text_that_is_due_when_the_call_ends_is_not_missed(self) -> None:
        self.turn(1)
        self.call.leg_ended(GONE)
        self.assertEqual(self.measures.texts_missed, [])

    def test_tokens_of_transcripts_are_in_the_record(self) -> None:
        self.talk.tokens_used({"input_tokens": 7})
        self.talk.tokens_used({"input_tokens": 5})
        self.call.leg_ended(GONE)
        self.assertEqual(self.measures.records[0].tokens["input_tokens"], 12)
