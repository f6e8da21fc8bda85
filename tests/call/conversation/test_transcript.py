from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.conversation.transcript import (
    MAX_CHARS,
    MAX_TURN_CHARS,
    Speaker,
    Transcript,
)
from chime_gateway.call.reports.event_json import turn_json
from chime_gateway.call.tools.belt import ToolUse


class TranscriptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.transcript = Transcript()

    def test_a_turn_of_the_caller_is_settled_when_its_text_arrives(self) -> None:
        self.transcript.caller_began("u", 1.0)
        self.transcript.caller_stopped("u", 2.5)
        self.assertEqual(self.transcript.settle(3.0), [])
        self.transcript.caller_said("u", "Hello?")
        (turn,) = self.transcript.settle(3.1)
        self.assertEqual(
            turn_json(turn.facts()),
            {
                "number": 1,
                "speaker": "caller",
                "started": 1.0,
                "ended": 2.5,
                "text": "Hello?",
            },
        )
        self.assertEqual(self.transcript.settle(3.2), [])

    def test_a_missing_text_is_not_waited_for_forever(self) -> None:
        self.transcript.caller_stopped("u", 2.0)
        self.assertEqual(self.transcript.settle(16.9), [])
        (turn,) = self.transcript.settle(17.0)
        self.assertEqual(turn.text, "")

    def test_without_transcription_a_turn_of_the_caller_is_settled_at_once(
        self,
    ) -> None:
        transcript = Transcript(has_caller_text=False)
        transcript.caller_stopped("u", 2.0)
        self.assertEqual(len(transcript.settle(2.0)), 1)

    def test_a_turn_of_the_agent_is_settled_when_heard_and_its_text_is_complete(
        self,
    ) -> None:
        self.transcript.agent_said("i", "Good ", False, 0.1)
        self.transcript.agent_began("i", 0.5)
        self.transcript.agent_said("i", "morning", False, 0.6)
        self.assertEqual(self.transcript.settle(1.0), [])
        self.transcript.agent_audio_done("i", is_whole=True)
        self.transcript.agent_heard("i", 2000, 2000, False, 2.5)
        self.transcript.agent_said("i", "Good morning.", True, 2.6)
        (turn,) = self.transcript.settle(2.7)
        self.assertEqual((turn.started, turn.ended), (0.5, 2.5))
        self.assertEqual(turn.text, "Good morning.")
        self.assertEqual(turn.heard_text, "Good morning.")

    def test_a_language_without_spaces_is_cut_between_characters(self) -> None:
        """It was not reported how much of it was heard."""
        self.transcript.agent_said("i", "かしこまりました。", True, 0.0)
        self.transcript.agent_began("i", 0.0)
        self.transcript.agent_audio_done("i", is_whole=True)
        self.transcript.agent_heard("i", 550, 900, True, 0.5)
        (turn,) = self.transcript.settle(0.6)
        self.assertEqual(turn.heard_text, "かしこまり")

    def test_the_heard_part_of_an_interrupted_sentence_ends_with_a_whole_word(
        self,
    ) -> None:
        self.transcript.agent_audio_done("i", is_whole=True)  # before all else
        self.transcript.agent_said("i", "one two three four", True, 0.0)
        self.transcript.agent_began("i", 0.0)
        self.transcript.agent_heard("i", 500, 1000, True, 0.5)
        (turn,) = self.transcript.settle(0.6)
        self.assertEqual(turn.heard_text, "one two")
        shown = turn_json(turn.facts())
        self.assertEqual(
            (shown["interrupted"], shown["heard_ms"], shown["spoken_ms"]),
            (True, 500, 1000),
        )

    def test_nothing_was_heard_of_a_turn_cut_before_it_began(self) -> None:
        self.transcript.agent_said("i", "one two", True, 0.0)
        self.transcript.agent_heard("i", 0, 1000, True, 0.1)
        (turn,) = self.transcript.settle(0.2)
        self.assertEqual(turn.heard_text, "")

    def test_the_pieces_are_kept_if_the_final_text_never_arrives(self) -> None:
        self.transcript.agent_said("i", "Good ", False, 0.0)
        self.transcript.agent_said("i", "mor", False, 0.1)
        self.transcript.agent_heard("i", 300, 900, True, 0.3)
        (turn,) = self.transcript.settle(3.4)
        self.assertEqual(turn.text, "Good mor")

    def test_the_pieces_are_kept_if_the_final_text_is_empty(self) -> None:
        self.transcript.agent_began("i", 1.0)
        self.transcript.agent_said("i", "Good mor", False, 1.0)
        self.transcript.agent_heard("i", 200, 400, True, 1.4)
        self.transcript.agent_said("i", "", True, 1.5)
        (turn,) = self.transcript.settle(1.6)
        self.assertEqual(turn.text, "Good mor")

    def test_turns_are_numbered_in_the_order_they_began(self) -> None:
        self.transcript.caller_began("u1", 0.0)
        self.transcript.note(Speaker.KEYPAD, 0.5, "1")
        self.transcript.agent_began("i1", 1.0)
        numbers = [(t.number, t.speaker.value) for t in self.transcript.turns]
        self.assertEqual(numbers, [(1, "caller"), (2, "keypad"), (3, "agent")])

    def test_the_end_of_a_call_settles_all_turns(self) -> None:
        self.transcript.caller_began("u", 1.0)
        self.transcript.agent_said("i", "Well", False, 2.0)
        turns = self.transcript.settle(5.0, is_over=True)
        self.assertEqual([turn.ended for turn in turns], [5.0, 5.0])

    def test_a_late_text_of_a_settled_turn_begins_no_new_turn(self) -> None:
        self.transcript.agent_began("i", 0.0)
        self.transcript.agent_heard("i", 1, 1, False, 1.0)
        self.transcript.settle(9.0)
        self.transcript.agent_said("i", "late", True, 9.5)
        self.assertEqual(len(self.transcript.turns), 1)

    def test_texts_are_not_in_a_repr(self) -> None:
        use = ToolUse(name="order", arguments='{"a": "secret"}', result="secret")
        turn = self.transcript.note(Speaker.TOOL, 0.0, "secret words", use.facts())
        self.assertNotIn("secret", repr(turn))
        self.assertNotIn("secret", repr(turn.facts()))


class TextOfAnyLengthTests(SynchronousTestCase):
    """A service may send any number of characters."""

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 40),
                st.booleans(),
                st.sampled_from([0, 5, 3000, 99_999, 400_000]),
            ),
            max_size=60,
        )
    )
    def test_a_limited_part_of_a_text_is_kept(
        self, said: list[tuple[int, bool, int]]
    ) -> None:
        transcript = Transcript()
        for item, is_final, size in said:
            if item % 2:
                transcript.agent_said(f"i{item}", "x" * size, is_final, 1.0)
            else:
                transcript.caller_began(f"i{item}", 1.0)
                transcript.caller_said(f"i{item}", "x" * size)
        sizes = [len(turn.text) for turn in transcript.turns]
        self.assertLessEqual(max(sizes, default=0), MAX_TURN_CHARS)
        self.assertLessEqual(sum(sizes), MAX_CHARS)
        self.assertEqual(transcript._chars, sum(sizes))
