"""A session receives the conversation of earlier sessions."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import ConversationItemCreateEvent, SessionUpdateEvent

from chime_gateway.agents.line.memory import Memory
from chime_gateway.history import (
    AgentText,
    CallerText,
    History,
    HistoryItem,
    Note,
    ToolCall,
    ToolOutput,
)
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.wire.realtime import dialects
from tests.support.openai_schema import unknown_members
from tests.support.realtime_session import SessionTestCase

EACH: Final = (
    CallerText("Hello?"),
    AgentText("Good evening."),
    ToolCall("call_past_1", "look_up", '{"a":1}'),
    ToolOutput("call_past_1", "42"),
    Note("Be brief."),
    ToolCall("call_past_2", "look_up", "{}"),
)

TEXTS: Final = st.text(min_size=1, max_size=12)
ITEMS: Final = st.lists(
    st.builds(CallerText, TEXTS)
    | st.builds(AgentText, TEXTS)
    | st.builds(Note, TEXTS)
    | st.builds(ToolCall, st.uuids().map(str), TEXTS, st.just("{}")),
    max_size=12,
)


@frozen
class Pairs:
    """Histories in which some tool calls have a result."""

    items: tuple[HistoryItem, ...]

    @classmethod
    def of(cls, items: list[HistoryItem], done: set[int]) -> Pairs:
        paired: list[HistoryItem] = []
        for index, item in enumerate(items):
            paired.append(item)
            if isinstance(item, ToolCall) and index in done:
                paired.append(ToolOutput(item.call_id, f"result {index}"))
        return cls(tuple(paired))


class Service(SessionTestCase):
    """
    A strict service that knows only what it received in this session.

    @ivar refuses: numbers of the items that it refuses; in their place it accepts only
        texts.
    """

    profile = AgentProfile(instructions="Never name prices.")
    refuses: ClassVar[frozenset[int]] = frozenset()

    def setUp(self) -> None:
        super().setUp()
        self.open()
        self.socket.ids.clear()
        self.items: dict[str, dict[str, Any]] = {}
        self.read = 0

    def serve(self) -> None:
        """Answer everything that was sent, in order."""
        while self.read < len(self.socket.ids):
            sent = [entry[1] for entry in self.log if entry[0] == "send"]
            command, command_id = sent[self.read], self.socket.ids[self.read]
            self.read += 1
            if command["type"] == "conversation.item.create":
                self.create(command, command_id)
            elif command["type"] == "session.update":
                self.assertEqual(set(command["session"]), {"type", "instructions"})
                self.receive("session.updated", session={})
            elif command["type"] != "response.create":
                self.fail(f"nothing of this session is there to be {command}")

    def create(self, command: dict[str, Any], command_id: str) -> None:
        item = command["item"]
        is_text = item["type"] == "message" and item["role"] != "assistant"
        why = ""
        if self.read in self.refuses and not is_text:
            why = "not this one"
        elif item["type"] == "function_call_output" and not any(
            known["type"] == "function_call" and known["call_id"] == item["call_id"]
            for known in self.items.values()
        ):
            why = "no such call"
        previous = command.get("previous_item_id", "")
        ids = list(self.items)
        if previous and previous != "root" and previous not in ids:
            why = "no such item before it"
        if why:
            error = {"type": "invalid_request_error", "code": "invalid_value"}
            error = {**error, "message": why, "event_id": command_id}
            self.receive("error", error=error)
            return
        item = {"id": f"item_{self.read}", **item}
        self.assertNotIn(item["id"], ids)
        place = len(ids)
        if previous:
            place = 0 if previous == "root" else ids.index(previous) + 1
        ids.insert(place, item["id"])
        self.items[item["id"]] = item
        self.items = {known: self.items[known] for known in ids}
        self.receive("conversation.item.added", item=item)

    def told(self) -> list[str]:
        """Return what a model reads of the history."""
        lines = []
        for item in self.items.values():
            if item["type"] == "message":
                lines.append(f"{item['role']}: {item['content'][0]['text']}")
            elif item["type"] == "function_call":
                lines.append(f"call: {item['name']} {item['arguments']}")
            else:
                lines.append(f"output: {item['output']}")
        return lines


class RecallTests(Service):
    def test_the_whole_history_is_sent_in_order(self) -> None:
        self.session.recall(History(EACH, "Do not greet again."))
        self.serve()
        self.assertEqual(
            self.told(),
            [
                "user: Hello?",
                "assistant: Good evening.",
                'call: look_up {"a":1}',
                "output: 42",
                "system: Be brief.",
                "call: look_up {}",
            ],
        )
        update = self.log[0][1]
        instructions = "Never name prices.\n\nDo not greet again."
        self.assertEqual(update["session"]["instructions"], instructions)

    def test_a_result_that_arrives_later_finds_its_tool_call(self) -> None:
        self.session.recall(History(EACH))
        self.session.tool_result("call_past_2", "43")
        self.serve()
        self.assertEqual(self.told()[-1], "output: 43")

    def test_the_types_of_openai_accept_what_is_sent(self) -> None:
        self.session.recall(History(EACH, "Go on."))
        for _, command in self.log:
            is_item = command["type"] == "conversation.item.create"
            kind: Any = ConversationItemCreateEvent if is_item else SessionUpdateEvent
            event = kind.model_validate(command)
            self.assertEqual(unknown_members(event), [])

    def test_the_preview_has_another_type_for_texts_and_no_session_type(self) -> None:
        self.patch(self.session._configuration, "dialect", dialects.PREVIEW)
        self.session.recall(History((AgentText("Hello."),), "Go on."))
        (_, update), (_, create) = self.log
        self.assertEqual(set(update["session"]), {"instructions"})
        self.assertEqual(create["item"]["content"][0]["type"], "text")

    def test_a_response_with_instructions_keeps_those_of_the_session(self) -> None:
        """The response also keeps what the session knows of the call."""
        for recalled in (False, True):
            with self.subTest(recalled=recalled):
                self.setUp()
                rules = "Never name prices."
                if recalled:
                    self.session.recall(History(EACH, "Do not greet."))
                    rules += "\n\nDo not greet."
                self.log.clear()
                self.session.interject("One moment.")
                self.clock.advance(20)
                self.session.say("Ask whether they are there.")
                self.clock.advance(20)
                self.session.say("Say goodbye.", is_last=True)
                asked = [entry[1] for entry in self.log if entry[0] == "send"]
                self.assertEqual(
                    [create["response"]["instructions"] for create in asked],
                    [
                        f"{rules}\n\nOne moment.",
                        f"{rules}\n\nAsk whether they are there.",
                        f"{rules}\n\nSay goodbye.",
                    ],
                )

    @given(ITEMS, st.sets(st.integers(0, 12)), st.sets(st.integers(1, 26)))
    @settings(max_examples=60, deadline=None)
    def test_a_refused_item_is_replaced_by_a_text_in_its_place(
        self, items: list[HistoryItem], done: set[int], refused: set[int]
    ) -> None:
        self.setUp()
        self.refuses = frozenset(refused)  # type: ignore[misc]
        history = History(Pairs.of(items, done).items)
        self.session.recall(history)
        self.serve()
        lines = self.told()
        self.assertEqual(len(lines), len(history.items))
        for line, item in zip(lines, history.items, strict=True):
            words = item.output if isinstance(item, ToolOutput) else ""
            words = item.name if isinstance(item, ToolCall) else words
            self.assertIn(words or item.text, line)  # type: ignore[union-attr]
        self.assertNotIn("agent_lost", [entry[0] for entry in self.log])
        self.clock.advance(20)
        self.session.tell("Still there.")
        self.serve()
        odd = [entry[1] for entry in self.log if entry[0] == "oddity_seen"]
        self.assertEqual([kind for kind in odd if kind.startswith("unanswered")], [])


class PendingToolTests(Service):
    refuses = frozenset({1})

    def test_a_result_whose_tool_call_was_refused_is_sent_as_a_text(self) -> None:
        memory = Memory()
        memory.tool_called("call_old", "look_up", "{}")
        self.session.recall(memory.history())
        self.serve()
        self.session.tool_result(memory.call_id("call_old"), "43")
        self.serve()
        self.serve()
        self.assertIn("43", self.told()[-1])
        self.assertNotIn("call_old", str(self.log))
