from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.memory import Memory
from chime_gateway.agents.line.turns import NOT_TRANSCRIBED
from chime_gateway.history import AgentText, CallerText, Note, ToolCall, ToolOutput

ANSWER = "Your table is booked for eight, and we look forward to seeing you."


def speak(memory: Memory, item_id: str, text: str) -> None:
    """Add a complete turn of which nothing was heard yet."""
    memory.agent_said(item_id, text, False)
    memory.agent_began(item_id)
    memory.agent_said(item_id, text, True)
    memory.agent_audio_done(item_id)


def ask(memory: Memory, item_id: str, text: str) -> None:
    memory.caller_began(item_id)
    memory.caller_said(item_id, text)


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.memory = Memory()

    def test_a_call_in_which_nothing_was_said_has_an_empty_history(self) -> None:
        history = self.memory.history()
        self.assertEqual((history.items, history.preamble), ((), ""))

    def test_the_history_is_in_the_order_in_which_turns_began(self) -> None:
        speak(self.memory, "a1", "Hello.")
        self.memory.caller_began("u1")
        speak(self.memory, "a2", ANSWER)
        self.memory.caller_said("u1", "A table at eight, please.")  # late
        self.memory.told("[The caller pressed 1]", is_order=False)
        self.memory.told("Be brief.", is_order=True)
        history = self.memory.history()
        self.assertEqual(
            history.items,
            (
                AgentText("Hello."),
                CallerText("A table at eight, please."),
                AgentText(ANSWER),
                CallerText("[The caller pressed 1]"),
                Note("Be brief."),
            ),
        )
        self.assertIn("do not greet", history.preamble)

    def test_a_cut_turn_is_in_the_history_as_far_as_it_was_heard(self) -> None:
        speak(self.memory, "a", ANSWER)
        self.memory.heard("a", 2000, 4000, True)
        (item,) = self.memory.history().items
        self.assertEqual(item, AgentText("Your table is booked for eight,"))

    def test_a_turn_cut_before_it_was_heard_is_left_out(self) -> None:
        speak(self.memory, "a", ANSWER)
        self.memory.heard("a", 0, 4000, True)
        self.assertEqual(self.memory.history().items, ())

    def test_a_cut_in_the_silence_after_the_last_word_cuts_no_text(self) -> None:
        speak(self.memory, "a", ANSWER)
        self.memory.heard("a", 4000, 4000, True)
        self.assertEqual(self.memory.history().items, (AgentText(ANSWER),))

    def test_text_without_audio_was_not_heard(self) -> None:
        self.memory.agent_said("a", ANSWER, True)
        self.assertEqual(self.memory.history().items, ())

    def test_the_history_has_the_audible_part_of_an_unfinished_sentence(
        self,
    ) -> None:
        """Its text is far ahead of its audio; the speaking rate was learned before."""
        speak(self.memory, "a1", "Twelve chars" * 10)
        self.memory.heard("a1", 12_000, 12_000, False)
        self.memory.agent_said("a2", ANSWER, False)
        self.memory.broke_off("a2", 2400)
        history = self.memory.history()
        said, note = history.items[1:]
        self.assertEqual(said, AgentText("Your table is booked"))
        self.assertEqual(history.unfinished, "Your table is booked")
        self.assertIsInstance(note, Note)
        self.assertIn("Your table is booked", note.text)  # type: ignore[union-attr]

    def test_the_last_word_of_a_sentence_broken_off_was_not_heard(self) -> None:
        self.memory.agent_said("a", "Your number is 4711.", True)
        self.memory.agent_began("a")
        self.memory.broke_off("a", 1500)
        self.assertEqual(self.memory.history().unfinished, "Your number is")

    def test_a_finished_sentence_that_is_still_being_heard_is_not_unfinished(
        self,
    ) -> None:
        speak(self.memory, "a", ANSWER)
        history = self.memory.history()
        self.assertEqual(history.items, (AgentText(ANSWER),))
        self.assertEqual(history.unfinished, "")

    def test_the_rest_of_an_interrupted_turn_is_not_wanted(
        self,
    ) -> None:
        self.memory.agent_said("a", ANSWER, False)
        self.memory.agent_began("a")
        self.memory.broke_off("a", 2100)
        self.memory.heard("a", 1500, 2100, True)
        history = self.memory.history()
        self.assertEqual(history.items, (AgentText("Your table is"),))
        self.assertEqual(history.unfinished, "")

    def test_languages_without_spaces_are_cut_between_characters(self) -> None:
        text = "かしこまりました。" * 10
        speak(self.memory, "a", text)
        self.memory.heard("a", 4600, 9000, True)
        self.assertEqual(self.memory.history().items, (AgentText(text[:45]),))

    def test_a_turn_without_a_transcript_is_noted_in_the_history(self) -> None:
        self.memory.caller_began("u")
        self.assertEqual(self.memory.history().items, (CallerText(NOT_TRANSCRIBED),))

    def test_noise_is_not_a_turn(self) -> None:
        ask(self.memory, "u", " ")
        self.assertEqual(self.memory.history().items, ())

    def test_a_turn_that_the_next_session_hears_is_not_in_the_history(self) -> None:
        ask(self.memory, "u1", "Hello?")
        self.memory.caller_began("u2")
        items = self.memory.history({"u2", "unknown"}).items
        self.assertEqual(items, (CallerText("Hello?"),))
        self.memory.caller_said("u2", "Are you there?")
        self.assertEqual(len(self.memory.history().items), 2)

    def test_the_heard_part_of_an_item_is_available(self) -> None:
        speak(self.memory, "a", ANSWER)
        self.assertEqual(self.memory.heard_text("a"), ANSWER)
        self.memory.heard("a", 2000, 4000, True)
        self.assertEqual(self.memory.heard_text("a"), "Your table is booked for eight,")
        self.assertEqual(self.memory.heard_text("of nobody"), "")

    def test_a_tool_call_and_its_result_get_an_id_of_the_gateway(self) -> None:
        self.memory.tool_called("call_x", "look_up", '{"a":1}')
        ask(self.memory, "u", "Hurry up.")
        self.memory.tool_result("call_x", "42")
        call, output, _ = self.memory.history().items
        assert isinstance(call, ToolCall) and isinstance(output, ToolOutput)
        self.assertEqual(call.call_id, output.call_id)
        self.assertNotIn("call_x", call.call_id)
        self.assertEqual((call.name, call.arguments), ("look_up", '{"a":1}'))
        self.assertEqual(output.output, "42")

    def test_a_tool_result_after_its_session_goes_to_the_next_session(self) -> None:
        self.memory.tool_called("call_x", "look_up", "{}")
        (call,) = self.memory.history().items
        assert isinstance(call, ToolCall)
        self.assertEqual(self.memory.call_id("call_x"), call.call_id)
        self.assertEqual(self.memory.call_id("unknown"), "unknown")

    def test_two_calls_of_one_tool_are_kept_apart(self) -> None:
        for call_id in ("x", "y", "x"):
            self.memory.tool_called(call_id, "look_up", "{}")
        ids = {item.call_id for item in self.memory.history().items}  # type: ignore[union-attr]
        self.assertEqual(len(ids), 2)

    def test_arguments_that_are_too_long_are_still_json(self) -> None:
        self.memory.tool_called("x", "look_up", '{"a":"' + "x" * 5000 + '"}')
        (call,) = self.memory.history().items
        assert isinstance(call, ToolCall)
        self.assertEqual(call.arguments, "{}")

    def test_texts_are_not_in_a_repr(self) -> None:
        speak(self.memory, "a1", "secret")
        ask(self.memory, "u1", "secret")
        self.memory.tool_called("x", "look_up", "secret")
        self.memory.tool_result("x", "secret")
        self.memory.told("secret", is_order=True)
        self.memory.agent_said("a2", "secret secret ", False)
        self.memory.broke_off("a2", 900)
        self.assertTrue(self.memory.history().unfinished)
        self.assertNotIn("secret", repr(self.memory.history()))
        self.assertNotIn("secret", repr(self.memory._entries))
