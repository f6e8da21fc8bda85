"""The simulated transcribers: what they accept, and how they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.transcription import (
    OTHER_COMPLETED,
    TRANSCRIBERS,
    Refusal,
    Transcription,
)
from tests.sim.realtime.test_session import (
    KNOWN_EXTRAS,
    QUIET,
    SERVER_EVENT,
    SPEECH,
    SessionTestCase,
)
from tests.support.openai_schema import unknown_members

TRANSCRIPTION = "conversation.item.input_audio_transcription."

#: A valid value of each member.
VALUES: dict[str, Any] = {
    "language": "en",
    "languages": ["en", "de"],
    "keywords": ["Chime"],
    "prompt": "Chime",
    "delay": "low",
}


class TranscriptionTestCase(SessionTestCase):
    where = "session.audio.input.transcription"

    def resource(self, **members: Any) -> SimulatedSession:
        transcription = Transcription(**members)
        session = self.session(behaviour=Behaviour(transcription=transcription))
        self.events.clear()
        return session

    def update(
        self, session: SimulatedSession, transcription: Any, **more: Any
    ) -> None:
        if self.is_preview:
            settings = {"input_audio_transcription": transcription, **more}
            settings["input_audio_format"] = "g711_ulaw"
        else:
            into = {"transcription": transcription, "format": {"type": "audio/pcmu"}}
            settings = {"type": "realtime", "audio": {"input": into}, **more}
        self.say(session, "session.update", session=settings, event_id="mine")

    def is_updated(self) -> bool:
        return bool(self.events[-1]["type"] == "session.updated")

    def heard(self, session: SimulatedSession) -> list[Mapping[str, Any]]:
        """Return the transcription events of one turn."""
        self.events.clear()
        self.append(session, QUIET + SPEECH + QUIET)
        self.run_for(3)
        self.assertIn("response.done", self.kinds())
        return [e for e in self.events if "audio_transcription" in e["type"]]


class UpdateTests(TranscriptionTestCase):
    def test_members_and_types_are_checked(self) -> None:
        session = self.resource()
        for wanted, code, at in (
            ({"modle": "whisper-1"}, "unknown_parameter", ".modle"),
            ({"model": 1}, "invalid_type", ".model"),
            ({"model": "x", "language": ["en"]}, "invalid_type", ".language"),
            ({"model": "x", "prompt": {}}, "invalid_type", ".prompt"),
            ({"model": "x", "keywords": "Chime"}, "invalid_type", ".keywords"),
            ({"model": "x", "keywords": [1]}, "invalid_type", ".keywords[0]"),
            ({"model": "x", "languages": ["en", 5]}, "invalid_type", ".languages[1]"),
            (
                {"model": "x", "languages": ["English"]},
                "invalid_value",
                ".languages[0]",
            ),
            ({"model": "x", "delay": "none"}, "invalid_value", ".delay"),
            ("whisper-1", "invalid_type", ""),
        ):
            with self.subTest(wanted=wanted):
                self.update(session, wanted)
                error = self.last_error()
                self.assertEqual(error["code"], code)
                self.assertEqual(error["param"], self.where + at)
                self.assertEqual(error["event_id"], "mine")

    def test_each_kind_accepts_its_own_members(self) -> None:
        expected = {
            "whisper-1": {"language", "prompt"},
            "gpt-4o-transcribe": {"language", "prompt"},
            "gpt-4o-mini-transcribe": {"language", "prompt"},
            "gpt-4o-transcribe-diarize": {"language"},
            "gpt-transcribe": {"languages", "keywords"},
            "gpt-live-transcribe": {"languages", "keywords"},
            "gpt-realtime-whisper": {"language", "delay"},
        }
        self.assertEqual(set(expected), set(TRANSCRIBERS))
        for kind, takes in expected.items():
            session = self.resource(deployments={"ears": kind})
            for name, value in VALUES.items():
                with self.subTest(kind=kind, name=name):
                    self.update(session, {"model": "ears", name: value})
                    if name in takes:
                        self.assertTrue(self.is_updated())
                        continue
                    error = self.last_error()
                    self.assertEqual(error["code"], "invalid_value")
                    self.assertEqual(error["param"], f"{self.where}.{name}")
                    self.assertEqual(error["event_id"], "mine")

    def test_a_null_member_counts_as_not_set(self) -> None:
        session = self.resource()
        self.update(session, {"model": "whisper-1", "delay": None})
        self.assertTrue(self.is_updated())

    def test_nothing_of_a_refused_update_is_applied(self) -> None:
        session = self.resource()
        wrong = {"model": "whisper-1", "delay": "low"}
        self.update(session, wrong, instructions="changed")
        self.assertEqual(self.last_error()["code"], "invalid_value")
        self.say(session, "session.update", session={"type": "realtime"})
        updated = self.events[-1]["session"]
        self.assertNotEqual(updated["instructions"], "changed")
        self.assertIsNone(updated["audio"]["input"]["transcription"])
        self.assertEqual(updated["audio"]["input"]["format"]["type"], "audio/pcm")

    def test_a_refusal_is_correlated_or_not(self) -> None:
        for refusal, event_id, param in (
            (Refusal.UPDATE, "mine", f"{self.where}.model"),
            (Refusal.UPDATE_UNCORRELATED, None, None),
        ):
            with self.subTest(refusal=refusal):
                session = self.resource(refusal=refusal)
                self.update(session, {"model": "whisper-1"}, instructions="changed")
                error = self.last_error()
                self.assertEqual(error["code"], "invalid_value")
                self.assertEqual(error["event_id"], event_id)
                self.assertEqual(error["param"], param)
                self.update(session, None)
                self.assertTrue(self.is_updated())
                instructions = self.events[-1]["session"]["instructions"]
                self.assertNotEqual(instructions, "changed")
                self.assertEqual(self.heard(session), [])


class TurnTests(TranscriptionTestCase):
    def turn(self, model: str = "whisper-1", **members: Any) -> list[Mapping[str, Any]]:
        session = self.resource(**members)
        self.update(session, {"model": model})
        self.assertTrue(self.is_updated())
        return self.heard(session)

    def kinds_of(self, events: list[Mapping[str, Any]]) -> list[str]:
        return [event["type"].removeprefix(TRANSCRIPTION) for event in events]

    def failure(self, events: list[Mapping[str, Any]]) -> Any:
        self.assertEqual(self.kinds_of(events), ["failed"])
        SERVER_EVENT.validate_python(events[0])
        return events[0]["error"]

    def test_whisper_works_without_a_deployment(self) -> None:
        delta, completed = self.turn()
        self.assertEqual(delta["delta"], completed["transcript"])
        self.assertEqual(completed["usage"]["type"], "duration")
        self.assertIn("s of speech", completed["transcript"])

    def test_an_unknown_deployment_fails_each_turn(self) -> None:
        session = self.resource(deployments={"ears": "gpt-4o-transcribe"})
        for model in ("gpt-4o-transcribe", "gpt-live-transcribe", "whisper"):
            self.update(session, {"model": model, "keywords": ["a"]})
            self.assertTrue(self.is_updated())
            for _ in range(2):
                error = self.failure(self.heard(session))
                self.assertEqual(error["code"], "DeploymentNotFound")

    def test_every_kind_works_by_its_deployments_name(self) -> None:
        for kind in TRANSCRIBERS:
            with self.subTest(kind=kind):
                events = self.turn("ears", deployments={"ears": kind})
                completed = events[-1]
                deltas = [e["delta"] for e in events if e["type"].endswith("delta")]
                self.assertEqual("".join(deltas), completed["transcript"])
                self.assertEqual(len({e["item_id"] for e in events}), 1)
                has_segment = kind == "gpt-4o-transcribe-diarize"
                self.assertEqual("segment" in self.kinds_of(events), has_segment)
                for event in events:
                    typed = SERVER_EVENT.validate_python(event)
                    self.assertEqual(typed.type, event["type"])
                    strange = unknown_members(typed)
                    self.assertEqual(
                        [n for n in strange if not n.endswith(KNOWN_EXTRAS)], []
                    )

    def test_a_retired_kind_is_like_a_missing_deployment(self) -> None:
        last = {
            "whisper-1": date(2026, 12, 14),
            "gpt-4o-transcribe": date(2026, 10, 14),
            "gpt-4o-mini-transcribe": date(2027, 6, 14),
            "gpt-4o-transcribe-diarize": date(2027, 4, 14),
        }
        for kind, day in last.items():
            with self.subTest(kind=kind):
                here = {"deployments": {"ears": kind}}
                events = self.turn("ears", today=day, **here)
                self.assertEqual(self.kinds_of(events)[-1], "completed")
                events = self.turn(
                    "ears", today=date.fromordinal(day.toordinal() + 1), **here
                )
                self.assertEqual(self.failure(events)["code"], "DeploymentNotFound")
        events = self.turn(today=date(2026, 12, 15))
        self.assertEqual(self.failure(events)["code"], "DeploymentNotFound")

    def test_nothing_retires_unless_a_date_is_set(self) -> None:
        transcription = Transcription(deployments={"old": "gpt-4o-transcribe"})
        self.assertIsNotNone(transcription.transcriber("old"))
        self.assertIsNotNone(transcription.transcriber("whisper-1"))

    def test_a_service_may_fail_or_ignore_every_turn(self) -> None:
        error = self.failure(self.turn(refusal=Refusal.NOT_FOUND))
        self.assertEqual(error["code"], "DeploymentNotFound")
        error = self.failure(self.turn(refusal=Refusal.FAILED))
        self.assertEqual((error["type"], error["code"]), ("server_error", None))
        self.assertEqual(self.turn(refusal=Refusal.SILENCE), [])

    def test_the_transcript_may_come_in_the_other_event(self) -> None:
        events = self.turn(completed_event=OTHER_COMPLETED)
        self.assertEqual(events[-1]["type"], OTHER_COMPLETED)
        self.assertNotIn("completed", self.kinds_of(events))


class PreviewTests(TranscriptionTestCase):
    is_preview = True
    where = "session.input_audio_transcription"

    def test_the_preview_has_three_members(self) -> None:
        session = self.resource()
        known = {"model": "whisper-1", "language": "en", "prompt": "Chime"}
        self.update(session, known)
        self.assertTrue(self.is_updated())
        for name in ("languages", "keywords", "delay"):
            self.update(session, {**known, name: VALUES[name]})
            error = self.last_error()
            self.assertEqual(error["code"], "unknown_parameter")
            self.assertEqual(error["param"], f"{self.where}.{name}")

    def test_the_preview_has_no_segments(self) -> None:
        session = self.resource(deployments={"who": "gpt-4o-transcribe-diarize"})
        self.update(session, {"model": "who"})
        kinds = {event["type"] for event in self.heard(session)}
        self.assertEqual(kinds, {f"{TRANSCRIPTION}delta", f"{TRANSCRIPTION}completed"})


class ResourceTests(SynchronousTestCase):
    def test_an_unknown_kind_is_an_error(self) -> None:
        with self.assertRaises(ValueError):
            Transcription(deployments={"ears": "whisper"})
