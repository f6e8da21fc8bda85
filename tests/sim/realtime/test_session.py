"""Checks the simulator against the C{openai} package's types and the reference."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.voices import (
    Failure,
    Parrot,
    Part,
    Speech,
    ToolCall,
    Turn,
)
from tests.support.openai_schema import unknown_members

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)

#: Members that the real service sends, but that are not in the types.
KNOWN_EXTRAS = ("session.id", "session.object", "session.expires_at", "obfuscation")


class Answers:
    """A voice with a list of answers."""

    def __init__(self, *answers: list[Part]) -> None:
        self.answers = list(answers)
        self.turns: list[Turn] = []

    def answer(self, turn: Turn) -> list[Part]:
        self.turns.append(turn)
        return self.answers.pop(0)


class SessionTestCase(SynchronousTestCase):
    is_preview = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[Mapping[str, Any]] = []
        self.closes: list[tuple[int, str]] = []

    def session(
        self, voice: Any = None, behaviour: Behaviour | None = None
    ) -> SimulatedSession:
        session = SimulatedSession(
            voice or Parrot(),
            behaviour or Behaviour(),
            is_preview=self.is_preview,
            send=self.events.append,
            close=lambda code, reason: self.closes.append((code, reason)),
            clock=self.clock,
            wall_time=lambda: 1_700_000_000.0,
        )
        session.start()
        return session

    def say(self, session: SimulatedSession, kind: str, /, **members: Any) -> None:
        session.receive(json.dumps({"type": kind, **members}).encode())

    def append(self, session: SimulatedSession, audio: bytes) -> None:
        for start in range(0, len(audio), 160):
            piece = base64.b64encode(audio[start : start + 160]).decode()
            self.say(session, "input_audio_buffer.append", audio=piece)

    def configure(self, session: SimulatedSession, **vad: Any) -> None:
        pcmu = {"type": "audio/pcmu"}
        turn_detection = {"type": "server_vad", "silence_duration_ms": 200, **vad}
        into = {
            "format": pcmu,
            "turn_detection": turn_detection,
            "transcription": {"model": "whisper-1"},
        }
        audio = {"input": into, "output": {"format": pcmu, "voice": "marin"}}
        self.say(
            session, "session.update", session={"type": "realtime", "audio": audio}
        )

    def kinds(self) -> list[str]:
        return [str(event["type"]) for event in self.events]

    def last_error(self) -> dict[str, Any]:
        self.assertEqual(self.events[-1]["type"], "error")
        error: dict[str, Any] = self.events[-1]["error"]
        return error

    def run_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.01)):
            self.clock.advance(0.01)


SPEECH = tone(PCMU, 600, 0.5)
QUIET = PCMU.silence(4000)


class GaSessionTests(SessionTestCase):
    def turn(self, session: SimulatedSession) -> None:
        self.append(session, QUIET + SPEECH + QUIET)
        self.run_for(3)

    def test_every_event_passes_the_types_of_the_openai_package(self) -> None:
        voice = Answers(
            [Speech(tone(PCMU, 500, 1.0), "two words"), ToolCall("look", '{"a": 1}')],
            [Failure("failed", "rate_limit_exceeded")],
            [Failure("incomplete", "content_filter")],
        )
        session = self.session(voice, Behaviour(obfuscation=True))
        self.configure(session)
        for _ in range(3):
            self.turn(session)
        self.say(session, "no.such.command")
        for event in self.events:
            with self.subTest(kind=event["type"]):
                typed = SERVER_EVENT.validate_python(event)
                self.assertEqual(typed.type, event["type"])
                strange = [
                    name
                    for name in unknown_members(typed)
                    if not name.endswith(KNOWN_EXTRAS)
                ]
                self.assertEqual(strange, [])

    def test_the_order_of_a_turn(self) -> None:
        session = self.session()
        self.configure(session)
        self.events.clear()
        self.turn(session)
        kinds = [k for k in self.kinds() if not k.endswith(".delta")]
        self.assertEqual(
            kinds,
            [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "response.created",
                "rate_limits.updated",
                "conversation.item.input_audio_transcription.completed",
                "response.output_item.added",
                "conversation.item.added",
                "response.content_part.added",
                "response.output_audio.done",
                "response.output_audio_transcript.done",
                "response.content_part.done",
                "response.output_item.done",
                "conversation.item.done",
                "response.done",
            ],
        )

    def test_the_parrot_repeats_the_utterance_byte_for_byte(self) -> None:
        session = self.session()
        self.configure(session)
        self.turn(session)
        deltas = [e for e in self.events if e["type"] == "response.output_audio.delta"]
        spoken = b"".join(base64.b64decode(e["delta"]) for e in deltas)
        self.assertIn(SPEECH, spoken)
        self.assertEqual(len(deltas[0]["delta"]), len(base64.b64encode(bytes(800))))

    def test_speech_is_generated_faster_than_real_time(self) -> None:
        session = self.session(
            Answers([Speech(tone(PCMU, 500, 4.0), "long")]), Behaviour(speed=5)
        )
        self.configure(session)
        self.append(session, QUIET + SPEECH + QUIET)
        self.run_for(0.3 + 4.0 / 5 + 0.1)
        self.assertEqual(self.kinds()[-1], "response.done")

    def test_speech_cancels_a_response_that_is_being_generated(self) -> None:
        session = self.session(Answers([Speech(tone(PCMU, 500, 9.0), "long")]))
        self.configure(session)
        self.append(session, QUIET + SPEECH + QUIET)
        self.run_for(0.8)
        self.append(session, SPEECH)
        done = self.events[-1]["response"]
        self.assertEqual(done["status"], "cancelled")
        self.assertEqual(done["status_details"]["reason"], "turn_detected")
        self.assertEqual(done["output"][0]["status"], "incomplete")

    def test_truncation_is_checked_against_what_was_generated(self) -> None:
        session = self.session(Answers([Speech(tone(PCMU, 500, 1.0), "words")]))
        self.configure(session)
        self.turn(session)
        item_id = self.events[-1]["response"]["output"][0]["id"]
        cut = {"item_id": item_id, "content_index": 0}
        kind = "conversation.item.truncate"
        self.say(session, kind, **cut, audio_end_ms=1001)
        self.assertIn("1000ms is already shorter", self.last_error()["message"])
        self.say(session, kind, **{**cut, "item_id": "x"}, audio_end_ms=1)
        self.assertEqual(self.last_error()["code"], "item_truncate_invalid_item_id")
        self.say(session, kind, **cut, audio_end_ms=400)
        self.assertEqual(self.events[-1]["type"], "conversation.item.truncated")
        self.assertEqual(session.log.truncations, [(item_id, 400, 1000)])

    def test_an_invalid_update_is_refused_as_a_whole(self) -> None:
        session = self.session()
        for settings, code in (
            ({}, "missing_required_parameter"),
            ({"type": "realtime", "voice": "x"}, "unknown_parameter"),
            (
                {"type": "realtime", "audio": {"input": {"format": "pcmu"}}},
                "invalid_type",
            ),
            (
                {"type": "realtime", "audio": {"input": {"format": {"type": "mp3"}}}},
                "invalid_value",
            ),
        ):
            with self.subTest(code=code):
                self.say(
                    session,
                    "session.update",
                    session={**settings, "instructions": "changed"},
                )
                self.assertEqual(self.last_error()["code"], code)
        self.say(session, "session.update", session={"type": "realtime"})
        updated = self.events[-1]
        self.assertEqual(updated["type"], "session.updated")
        self.assertNotEqual(updated["session"]["instructions"], "changed")

    def test_the_voice_cannot_change_after_it_was_used(self) -> None:
        session = self.session()
        self.configure(session)
        self.turn(session)
        change = {"type": "realtime", "audio": {"output": {"voice": "ash"}}}
        self.say(session, "session.update", session=change)
        self.assertEqual(self.last_error()["code"], "cannot_update_voice")

    def test_races_and_invalid_commands_have_the_real_codes(self) -> None:
        session = self.session(Answers([Speech(tone(PCMU, 500, 5.0), "long")]))
        self.configure(session)
        self.say(session, "response.cancel")
        self.assertEqual(self.last_error()["code"], "response_cancel_not_active")
        self.say(session, "input_audio_buffer.commit")
        self.assertEqual(self.last_error()["code"], "input_audio_buffer_commit_empty")
        self.say(session, "input_audio_buffer.append", audio="@")
        self.assertEqual(self.last_error()["code"], "invalid_value")
        session.receive(b"{")
        self.assertEqual(self.last_error()["code"], "invalid_json")
        session.receive(b"[" * 100_000)
        session.receive(b"5")
        self.assertEqual(self.last_error()["code"], "invalid_event")
        self.say(session, "response.create")
        self.say(session, "response.create", event_id="mine")
        error = self.last_error()
        self.assertEqual(error["code"], "conversation_already_has_active_response")
        self.assertEqual(error["event_id"], "mine")

    def test_the_session_expires(self) -> None:
        self.session(behaviour=Behaviour(session_seconds=60))
        self.run_for(60.1)
        self.assertEqual(self.last_error()["code"], "session_expired")
        text = "Your session hit the maximum duration of 1 minutes."
        self.assertEqual(self.closes, [(1001, text)])

    def test_the_session_may_expire_before_expires_at(self) -> None:
        self.session(behaviour=Behaviour(session_seconds=60, early_seconds=1800))
        expires_at = self.events[0]["session"]["expires_at"]
        self.assertEqual(expires_at, 1_700_001_860)
        self.run_for(60.1)
        self.assertEqual(self.last_error()["code"], "session_expired")

    def test_a_silent_caller_is_asked_after_the_idle_time(self) -> None:
        voice = Answers([Speech(b"\xff" * 8000, "a")], [Speech(b"\xff" * 80, "b")])
        session = self.session(voice)
        self.configure(session, idle_timeout_ms=5000)
        self.say(session, "response.create")
        self.run_for(5.5)
        self.assertNotIn("input_audio_buffer.timeout_triggered", self.kinds())
        self.run_for(2.0)
        self.assertIn("input_audio_buffer.timeout_triggered", self.kinds())

    def test_faults(self) -> None:
        for behaviour, expected in (
            (Behaviour(silent_start=True), []),
            (Behaviour(drop_after_seconds=1), [(0, "")]),
            (Behaviour(close_after_seconds=1, close_code=1011), [(1011, "fault")]),
            (Behaviour(close_at_once=True, close_code=1011), [(1011, "fault")]),
            (Behaviour(close_at_once=True, close_code=0), [(0, "fault")]),
        ):
            with self.subTest(behaviour=behaviour):
                self.events.clear()
                self.closes.clear()
                session = self.session(behaviour=behaviour)
                self.run_for(1.1)
                self.assertEqual(self.closes, expected)
                session.stop()
        self.events.clear()
        self.session(behaviour=Behaviour(silent_start=True))
        self.session(behaviour=Behaviour(close_at_once=True))
        self.assertEqual(self.events, [])

    def test_nothing_is_scheduled_after_the_end(self) -> None:
        session = self.session()
        self.configure(session)
        self.append(session, QUIET + SPEECH + QUIET)
        session.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PreviewSessionTests(SessionTestCase):
    is_preview = True

    def test_the_preview_has_its_own_shape_and_names(self) -> None:
        session = self.session()
        self.assertEqual(self.events[0]["session"]["input_audio_format"], "pcm16")
        ga = {"type": "realtime"}
        self.say(session, "session.update", session=ga)
        self.assertEqual(
            self.last_error()["message"], "Unknown parameter: 'session.type'."
        )
        flat = {"input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw"}
        self.say(session, "session.update", session=flat)
        self.append(session, QUIET + SPEECH + QUIET)
        self.run_for(3)
        kinds = set(self.kinds())
        self.assertIn("response.audio.delta", kinds)
        self.assertIn("conversation.item.created", kinds)
        self.assertNotIn("conversation.item.done", kinds)
        self.assertFalse([kind for kind in kinds if "output_audio" in kind])
