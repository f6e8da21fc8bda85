"""Out-of-band text responses of the simulated service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chime_gateway.audio import PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.voices import Speech
from tests.sim.realtime.test_session import (
    KNOWN_EXTRAS,
    QUIET,
    SERVER_EVENT,
    SPEECH,
    Answers,
    SessionTestCase,
)
from tests.support.openai_schema import unknown_members

METADATA = {"purpose": "transcript"}


class ResponseTestCase(SessionTestCase):
    modalities = "output_modalities"

    def heard(self, voice: Any = None) -> tuple[SimulatedSession, str, str]:
        """Return a session after one turn, its audio item's id, and the transcript."""
        session = self.session(voice)
        if self.is_preview:
            flat = {"input_audio_format": "g711_ulaw"}
            flat["output_audio_format"] = "g711_ulaw"
            wanted = {"input_audio_transcription": {"model": "whisper-1"}}
            self.say(session, "session.update", session={**flat, **wanted})
        else:
            self.configure(session)
        self.append(session, QUIET + SPEECH + QUIET)
        self.run_for(0.25)
        completed = self.events[-1]
        self.assertTrue(completed["type"].endswith("completed"), self.kinds())
        return session, completed["item_id"], completed["transcript"]

    def ask(self, session: SimulatedSession, *input_items: Any, **more: Any) -> None:
        asked = {
            "conversation": "none",
            self.modalities: ["text"],
            "instructions": "Write down what the caller said.",
            "metadata": METADATA,
            "input": list(input_items),
            **more,
        }
        self.say(session, "response.create", response=asked, event_id="mine")

    def refer(self, session: SimulatedSession, item_id: str, **more: Any) -> None:
        self.ask(session, {"type": "item_reference", "id": item_id}, **more)

    def of(self, response_id: str) -> list[Mapping[str, Any]]:
        """Return the events of a response."""
        return [
            event
            for event in self.events
            if event.get("response_id") == response_id
            or event.get("response", {}).get("id") == response_id
        ]

    def out_of_band_ids(self) -> list[str]:
        """Return the ids of the out-of-band responses."""
        return [
            event["response"]["id"]
            for event in self.events
            if event["type"] == "response.created"
            and event["response"]["conversation_id"] is None
        ]


class TextTests(ResponseTestCase):
    def test_the_referenced_audio_is_transcribed(self) -> None:
        session, item_id, transcript = self.heard()
        self.run_for(3)
        self.events.clear()
        request = {"type": "input_text", "text": "Write it down."}
        self.ask(
            session,
            {"type": "item_reference", "id": item_id},
            {"type": "message", "role": "user", "content": [request]},
        )
        self.run_for(1)
        [response_id] = self.out_of_band_ids()
        events = self.of(response_id)
        kinds = [event["type"] for event in events]
        deltas = [event["delta"] for event in events if "delta" in event]
        self.assertGreater(len(deltas), 1)
        self.assertEqual("".join(deltas), transcript)
        self.assertEqual(
            [kind for kind in kinds if kind != "response.output_text.delta"],
            [
                "response.created",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.done",
            ],
        )
        created, done = events[0]["response"], events[-1]["response"]
        for response in created, done:
            self.assertIsNone(response["conversation_id"])
            self.assertEqual(response["metadata"], METADATA)
            self.assertEqual(response["output_modalities"], ["text"])
        self.assertEqual(done["status"], "completed")
        [message] = done["output"]
        text = [{"type": "output_text", "text": transcript}]
        self.assertEqual(message["content"], text)
        usage = done["usage"]
        self.assertGreater(usage["input_token_details"]["audio_tokens"], 0)
        self.assertEqual(usage["output_token_details"]["audio_tokens"], 0)
        self.assertEqual(
            usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"]
        )
        self.assertNotIn("conversation.item.added", self.kinds())
        for event in self.events:
            typed = SERVER_EVENT.validate_python(event)
            self.assertEqual(typed.type, event["type"])
            strange = unknown_members(typed)
            self.assertEqual([n for n in strange if not n.endswith(KNOWN_EXTRAS)], [])

    def test_a_text_response_does_not_change_the_conversation(self) -> None:
        session, item_id, _ = self.heard()
        self.refer(session, item_id)
        self.run_for(3)
        written = self.of(self.out_of_band_ids()[0])[-1]["response"]["output"][0]["id"]
        self.say(session, "conversation.item.retrieve", item_id=written)
        self.assertEqual(self.last_error()["code"], "item_retrieve_invalid_item_id")

    def test_a_text_response_runs_in_parallel_with_others(self) -> None:
        voice = Answers([Speech(tone(PCMU, 500, 9.0), "long")])
        session, item_id, transcript = self.heard(voice)
        self.assertNotIn("response.done", self.kinds())
        self.refer(session, item_id)
        self.refer(session, item_id, metadata={"n": "2"})
        self.run_for(0.5)
        for response_id in self.out_of_band_ids():
            output = self.of(response_id)[-1]["response"]["output"]
            self.assertEqual(output[0]["content"][0]["text"], transcript)
        self.assertEqual(self.kinds().count("response.done"), 2)
        self.assertEqual(session.log.errors, [])
        self.run_for(3)
        last = self.events[-1]["response"]
        self.assertEqual(last["status"], "completed")
        self.assertIsNotNone(last["conversation_id"])

    def test_speech_does_not_interrupt_a_text_response(self) -> None:
        session, item_id, _ = self.heard()
        self.run_for(3)
        self.refer(session, item_id)
        self.append(session, SPEECH)
        self.run_for(1)
        done = self.of(self.out_of_band_ids()[0])[-1]["response"]
        self.assertEqual(done["status"], "completed")

    def test_without_input_the_last_turn_is_transcribed(self) -> None:
        session, _, transcript = self.heard()
        self.ask(session, input=None)
        self.run_for(1)
        done = self.of(self.out_of_band_ids()[0])[-1]["response"]
        self.assertEqual(done["output"][0]["content"][0]["text"], transcript)

    def test_with_empty_input_nothing_is_transcribed(self) -> None:
        session, _, _ = self.heard()
        self.ask(session)
        self.run_for(1)
        done = self.of(self.out_of_band_ids()[0])[-1]["response"]
        self.assertEqual(done["output"][0]["content"][0]["text"], "")

    def test_a_text_response_is_cancelled_only_by_its_id(self) -> None:
        session, item_id, _ = self.heard()
        self.run_for(3)
        self.refer(session, item_id)
        self.say(session, "response.cancel")
        self.assertEqual(self.last_error()["code"], "response_cancel_not_active")
        [response_id] = self.out_of_band_ids()
        self.say(session, "response.cancel", response_id=response_id)
        done = self.events[-1]["response"]
        self.assertEqual(done["id"], response_id)
        self.assertEqual(done["status_details"]["reason"], "client_cancelled")
        self.run_for(1)
        self.assertIs(self.events[-1]["response"], done)

    def test_an_invalid_request_is_refused(self) -> None:
        session, item_id, _ = self.heard()
        reference = {"type": "item_reference", "id": "item_x"}
        for more, code, param in (
            ({"input": [reference]}, "invalid_value", "input[0].id"),
            ({"input": {}}, "invalid_type", "input"),
            ({"input": ["x"]}, "invalid_type", "input[0]"),
            ({"input": [{}]}, "missing_required_parameter", "input[0].type"),
            ({"modalities": ["text"]}, "unknown_parameter", "modalities"),
            (
                {"output_modalities": ["text", "audio"]},
                "invalid_value",
                "output_modalities",
            ),
            ({"conversation": "mine"}, "invalid_value", "conversation"),
            ({"instructions": 5}, "invalid_type", "instructions"),
            ({"metadata": {"n": 2}}, "invalid_type", "metadata.n"),
            ({"metadata": {"n": "2" * 513}}, "invalid_value", "metadata"),
        ):
            with self.subTest(more=more):
                self.refer(session, item_id, **more)
                error = self.last_error()
                self.assertEqual(error["code"], code)
                self.assertEqual(error["param"], f"response.{param}")
                self.assertEqual(error["event_id"], "mine")
        self.say(session, "response.create", response="now")
        self.assertEqual(self.last_error()["param"], "response")
        self.say(session, "response.cancel", response_id=["x"])
        self.assertEqual(self.last_error()["code"], "invalid_type")
        self.assertEqual(self.out_of_band_ids(), [])

    def test_nothing_is_scheduled_after_the_end(self) -> None:
        session, item_id, _ = self.heard()
        self.refer(session, item_id)
        session.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SpokenOutOfBandTests(ResponseTestCase):
    def test_it_has_no_conversation_and_keeps_its_metadata(self) -> None:
        session, _, _ = self.heard()
        self.run_for(3)
        self.events.clear()
        self.ask(session, output_modalities=["audio"])
        self.run_for(3)
        events = self.of(self.out_of_band_ids()[0])
        self.assertIn("response.output_audio.delta", [e["type"] for e in events])
        done = events[-1]["response"]
        self.assertIsNone(done["conversation_id"])
        self.assertEqual(done["metadata"], METADATA)
        self.assertNotIn("conversation.item.added", self.kinds())


class PreviewTests(ResponseTestCase):
    is_preview = True
    modalities = "modalities"

    def test_the_preview_has_its_own_names(self) -> None:
        session, item_id, transcript = self.heard()
        self.refer(session, item_id)
        self.run_for(1)
        events = self.of(self.out_of_band_ids()[0])
        kinds = {event["type"] for event in events}
        self.assertIn("response.text.delta", kinds)
        self.assertIn("response.text.done", kinds)
        self.assertFalse([kind for kind in kinds if "output_text" in kind])
        done = events[-1]["response"]
        self.assertEqual(done["modalities"], ["text"])
        text = [{"type": "text", "text": transcript}]
        self.assertEqual(done["output"][0]["content"], text)
        self.refer(session, item_id, output_modalities=["text"])
        self.assertEqual(self.last_error()["code"], "unknown_parameter")
