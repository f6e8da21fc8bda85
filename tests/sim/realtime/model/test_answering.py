from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.audio import PCMU
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.speech import heard, spoken, words
from tests.sim.realtime.test_session import QUIET, SessionTestCase

KEYS = ("number", "name", "order code", "town")


class AnsweringTestCase(SessionTestCase):
    def open(self, **session: object) -> SimulatedSession:
        found = self.session(Answering(), Behaviour(speed=50.0))
        self.configure(found)
        if session:
            self.say(found, "session.update", session={"type": "realtime", **session})
        return found

    def speak(self, session: SimulatedSession, text: str) -> str:
        """@return: what the agent then says."""
        before = len(self.events)
        self.append(session, QUIET + spoken(PCMU, text) + QUIET)
        self.run_for(1.5)
        return self.heard_since(session, before)

    def ask(self, session: SimulatedSession, **response: object) -> str:
        before = len(self.events)
        more = {"response": response} if response else {}
        self.say(session, "response.create", **more)
        self.run_for(1.5)
        return self.heard_since(session, before)

    def heard_since(self, session: SimulatedSession, before: int) -> str:
        items = {
            str(event["item_id"]): None
            for event in self.events[before:]
            if event["type"] == "response.output_audio.delta"
        }
        spoken_items = session.log.spoken
        audio = b"".join(bytes(spoken_items.get(one, b"")) for one in items)
        return words(heard(PCMU, audio))

    def tell(self, session: SimulatedSession, role: str, text: str) -> None:
        kind = "output_text" if role == "assistant" else "input_text"
        part = {"type": kind, "text": text}
        item = {"type": "message", "role": role, "content": [part]}
        self.say(session, "conversation.item.create", item=item)


class MemoryTests(AnsweringTestCase):
    def test_what_the_caller_said_is_known_only_in_its_session(self) -> None:
        first, second = self.open(), self.open()
        said = self.speak(first, "My number is 4711.")
        self.assertEqual(said, "I have noted your number.")
        asked = "Which number did I give you?"
        self.assertEqual(self.speak(first, asked), "Your number is 4711.")
        self.assertEqual(self.speak(second, asked), "I do not know your number.")

    @settings(max_examples=12, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(KEYS),
                st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True),
                st.sampled_from(["spoken", "user", "instructions", "deleted"]),
            ),
            max_size=4,
        ),
        st.sampled_from(KEYS),
    )
    def test_it_answers_only_from_what_it_was_given(
        self, facts: list[tuple[str, str, str]], key: str
    ) -> None:
        self.events.clear()
        session = self.open()
        written = ["The conversation so far:"]
        in_items = ""
        in_instructions = ""
        for name, value, how in facts:
            text = f"My {name} is {value}."
            if how == "spoken":
                self.speak(session, text)
            elif how == "instructions":
                written.append(f"The caller said: {text}")
            else:
                self.tell(session, "user", text)
            if how == "deleted":
                item_id = self.events[-1]["item"]["id"]
                self.say(session, "conversation.item.delete", item_id=item_id)
            elif name == key and how == "instructions":
                in_instructions = value
            elif name == key:
                in_items = value
        update = {"type": "realtime", "instructions": " ".join(written)}
        self.say(session, "session.update", session=update)
        # Facts stated so far are answered before the question.
        self.ask(session)
        value = in_items or in_instructions
        expected = f"Your {key} is {value}." if value else f"I do not know your {key}."
        self.assertEqual(self.speak(session, f"What is my {key}?"), expected)

    def test_truncated_speech_is_not_known(self) -> None:
        session = self.open()
        self.speak(session, "Say the gate is green and the key is under the mat.")
        item = list(session.log.spoken)[-1]
        cut = {"item_id": item, "content_index": 0, "audio_end_ms": 1440}
        self.say(session, "conversation.item.truncate", **cut)
        self.speak(session, "What is the gate?")
        (said,) = [x for x in session.log.answers[-1].lines if x.role == "assistant"]
        self.assertEqual(said.text, "the gate is green")

    def test_instructions_of_a_response_hide_those_of_the_session(self) -> None:
        session = self.open(instructions="The code word is banana.")
        self.tell(session, "user", "What is the code word?")
        said = self.ask(session, instructions="Be brief.")
        self.assertEqual(said, "I do not know the code word.")
        self.tell(session, "user", "Question 2: what is the code word?")
        self.assertEqual(self.ask(session), "Answer 2: The code word is banana.")
        self.assertEqual(session.log.answers[0].instructions, "Be brief.")

    def test_pressed_keys_are_known(self) -> None:
        session = self.open()
        self.tell(session, "system", "[The caller pressed 12# on the keypad]")
        said = self.speak(session, "Which keys did I press?")
        self.assertEqual(said, "You pressed 12#.")


class FirstWordsTests(AnsweringTestCase):
    def test_it_greets_only_at_the_start_of_a_conversation(self) -> None:
        for instructions in (
            "You continue a telephone conversation.",
            "The conversation so far was this.",
            "Do not greet the caller again.",
        ):
            with self.subTest(instructions=instructions):
                session = self.open(instructions=instructions)
                self.assertNotIn("Hello", self.ask(session))
        for role in ("user", "assistant"):
            with self.subTest(role=role):
                session = self.open()
                self.tell(session, role, "Goodbye.")
                self.assertNotIn("Hello", self.ask(session))
        self.assertEqual(self.ask(self.open()), "Hello. How can I help you?")
        session = self.open()
        said = self.ask(session, instructions='Say exactly "Good morning."')
        self.assertEqual(said, "Good morning.")


class GoingOnTests(AnsweringTestCase):
    @settings(max_examples=10, deadline=None)
    @given(st.integers(2, 9), st.integers(0, 9), st.integers(0, 10))
    def test_it_continues_after_the_last_complete_heard_sentence(
        self, parts: int, heard_parts: int, more: int
    ) -> None:
        told = min(parts - 1, heard_parts)
        session = self.open()
        self.tell(session, "user", f"Tell me a story of {parts} parts.")
        story = [f"Part {n} of {parts}." for n in range(1, parts + 1)]
        was_heard = " ".join([*story[:told], story[told][:more]])
        self.tell(session, "assistant", was_heard)
        left = [one for one in story[told:] if one not in was_heard]
        self.assertEqual(self.ask(session), " ".join(left) or "Is there anything else?")

    def test_an_unanswered_turn_is_answered_with_the_next(self) -> None:
        session = self.open()
        self.tell(session, "user", "My name is Ada.")
        self.tell(session, "assistant", "I have noted your name.")
        self.tell(session, "user", "What is my name?")
        said = self.speak(session, "Question 3: which keys did I press?")
        self.assertEqual(said, "Your name is Ada. Answer 3: You pressed nothing.")


class ToolTests(AnsweringTestCase):
    def test_a_tool_is_called_once_and_its_result_reported(self) -> None:
        session = self.open()
        self.assertEqual(self.speak(session, 'Call look_up with {"id": 7}'), "")
        done = self.events[-1]["response"]["output"]
        (call,) = [item for item in done if item["type"] == "function_call"]
        self.assertEqual((call["name"], call["arguments"]), ("look_up", '{"id": 7}'))
        self.assertEqual(self.ask(session), "I wait for look_up.")
        output = {"type": "function_call_output", "output": "sunny"}
        for call_id in ("call_of_somebody_else", call["call_id"]):
            item = {**output, "call_id": call_id}
            self.say(session, "conversation.item.create", item=item)
        self.assertEqual(self.ask(session), "The result is sunny.")
        self.assertEqual(len(session.log.violations), 1)
        said = self.speak(session, "What did the tool say?")
        self.assertEqual(said, "The tool said sunny.")

    def test_a_call_in_the_history_can_be_answered(self) -> None:
        session = self.open()
        self.tell(session, "user", "Call look_up")
        call = {"name": "look_up", "call_id": "call_1", "arguments": "{}"}
        output = {"call_id": "call_1", "output": "rain"}
        for kind, members in (
            ("function_call", call),
            ("function_call_output", output),
        ):
            item = {"type": kind, **members}
            self.say(session, "conversation.item.create", item=item)
        self.assertEqual(self.ask(session), "The result is rain.")
        self.assertEqual(session.log.errors, [])
