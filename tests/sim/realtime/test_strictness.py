from __future__ import annotations

from typing import Any

from chime_gateway.audio import PCMU
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.which import Which
from chime_gateway.sim.realtime.model.answering import Answering
from chime_gateway.sim.realtime.session import SimulatedSession
from tests.sim.realtime.model.test_answering import AnsweringTestCase


class ForeignIdTests(AnsweringTestCase):
    """Ids of one session must not be used in another."""

    def test_ids_of_another_session_are_refused_and_counted(self) -> None:
        first, second = self.open(), self.open()
        self.ask(first)
        item = next(iter(first.log.spoken))
        response = self.events[-1]["response"]["id"]
        truncate = {"content_index": 0, "audio_end_ms": 0}
        commands: list[tuple[str, dict[str, Any]]] = [
            ("conversation.item.truncate", {"item_id": item, **truncate}),
            ("conversation.item.delete", {"item_id": item}),
            ("conversation.item.retrieve", {"item_id": item}),
            ("response.cancel", {"response_id": response}),
        ]
        message = {"type": "message", "role": "user", "content": []}
        create = {"item": message, "previous_item_id": item}
        commands.append(("conversation.item.create", create))
        for kind, members in commands:
            with self.subTest(kind=kind):
                self.say(second, kind, event_id="e", **members)
                self.assertEqual(self.last_error()["event_id"], "e")
        self.assertEqual(len(second.log.violations), len(commands))
        self.assertEqual(first.log.violations, [])

    def test_old_ids_of_the_same_session_are_no_violation(self) -> None:
        session = self.open()
        self.ask(session)
        response = self.events[-1]["response"]["id"]
        item = next(iter(session.log.spoken))
        self.say(session, "response.cancel", response_id=response)
        self.assertEqual(self.last_error()["code"], "response_cancel_not_active")
        for _ in range(2):
            self.say(session, "conversation.item.delete", item_id=item)
        self.assertEqual(self.events[-1]["type"], "error")
        self.assertEqual(session.log.violations, [])


class OrderTests(AnsweringTestCase):
    def test_audio_before_the_first_update_is_counted_once(self) -> None:
        session = self.session(Answering())
        for _ in range(3):
            self.append(session, PCMU.silence(160))
        self.configure(session)
        self.append(session, PCMU.silence(160))
        self.assertEqual(session.log.violations, ["audio before session.update"])

    def test_an_item_is_inserted_at_its_position(self) -> None:
        session = self.open()
        ids: list[str] = []
        for text, place in (("b", None), ("d", None), ("a", "root"), ("c", 0)):
            part = {"type": "input_text", "text": text}
            item = {"type": "message", "role": "user", "content": [part]}
            where = ids[0] if place == 0 else place
            more = {"previous_item_id": where} if where else {}
            self.say(session, "conversation.item.create", item=item, **more)
            ids.append(self.events[-1]["item"]["id"])
        self.ask(session)
        lines = session.log.answers[-1].lines
        self.assertEqual([line.text for line in lines], ["a", "b", "c", "d"])


class ItemTests(AnsweringTestCase):
    def test_an_invalid_item_is_refused(self) -> None:
        session = self.open()
        audio = {"type": "output_audio", "audio": "AAAA"}
        message: dict[str, Any] = {"type": "message", "role": "assistant"}
        for item in (
            {**message, "content": [audio]},
            {**message, "content": [{"type": "input_text", "text": "x"}]},
            {**message, "content": "x"},
            {**message, "content": ["x"]},
            {"type": "message", "role": "agent", "content": []},
            {"type": "function_call", "name": "f", "call_id": "c"},
        ):
            with self.subTest(item=item):
                self.say(session, "conversation.item.create", item=item)
                self.assertEqual(self.events[-1]["type"], "error")


class OlderModelTests(AnsweringTestCase):
    def test_an_update_with_reasoning_is_refused_as_a_whole(self) -> None:
        for asked in ({"reasoning": {"effort": "low"}}, {"parallel_tool_calls": True}):
            with self.subTest(asked=asked):
                session = self.session(Answering(), Behaviour(is_older_model=True))
                update = {"type": "realtime", "instructions": "The pin is 1.", **asked}
                self.say(session, "session.update", session=update, event_id="e")
                error = self.last_error()
                self.assertEqual((error["event_id"], error["param"]), (None, None))
                self.assertEqual(error["code"], "invalid_value")
                self.tell(session, "user", "What is the pin?")
                self.ask(session)
                answer = session.log.answers[-1]
                self.assertEqual(answer.said, "I do not know the pin.")

    def test_parallel_calls_may_be_disabled(self) -> None:
        session = self.session(Answering(), Behaviour(is_older_model=True))
        update = {"type": "realtime", "parallel_tool_calls": False}
        self.say(session, "session.update", session=update)
        self.assertEqual(self.events[-1]["type"], "session.updated")


class PhaseTests(AnsweringTestCase):
    def phases(self, session: SimulatedSession) -> list[Any]:
        self.ask(session)
        output = self.events[-1]["response"]["output"]
        return [item.get("phase") for item in output]

    def test_commentary_is_a_separate_item(self) -> None:
        how = Behaviour(commentary=Which(2, 2), speed=50)
        session = self.session(Answering(), how)
        self.configure(session)
        self.assertEqual(self.phases(session), [None])
        self.tell(session, "user", "Goodbye.")
        self.assertEqual(self.phases(session), ["commentary", "final_answer"])
        said = session.log.answers[-1].said
        self.assertEqual(said, "One moment. Goodbye.")
