"""Transcribers: the fields they accept, their settings, their retirement."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.agents import agents, transcription_advice
from chime_gateway.settings.retirements import (
    RETIREMENTS,
    SOON_DAYS,
    retirement_notices,
)
from chime_gateway.settings.sound import read_sound
from chime_gateway.settings.transcribers import (
    DEFAULT_TRANSCRIBER,
    LANGUAGE,
    LANGUAGES,
    REALTIME_MODEL,
    TRANSCRIBERS,
    Transcription,
)
from chime_gateway.settings.values import DeploymentSettings, GatewaySettings

TODAY = date(2026, 11, 27)


def profile(**values: Any) -> AgentProfile:
    found = agents(
        {"agents": {"default": values}},
        {},
        read=lambda name, where: "",
        read_sound=lambda name, where, most: read_sound(Path(name), where, most),
        has_recordings=False,
        built_in=(),
        is_preview=False,
    )
    return found["default"]


class TranscriptionTests(SynchronousTestCase):
    def test_only_the_fields_that_the_kind_takes_are_sent(self) -> None:
        for kind, takes in TRANSCRIBERS.items():
            with self.subTest(kind=kind):
                everything = Transcription(
                    model="mine",
                    kind=kind,
                    language="de",
                    prompt="Names: Smith",
                    keywords=("Smith",),
                    delay="low",
                )
                fields = everything.fields()
                self.assertEqual(set(fields), {"model", *takes})
                self.assertEqual(fields["model"], "mine")
                self.assertFalse({LANGUAGE, LANGUAGES} <= set(takes))

    def test_of_an_unknown_kind_only_the_name_is_sent(self) -> None:
        unknown = Transcription(model="mine", kind="", language="de", prompt="x")
        self.assertEqual(unknown.fields(), {"model": "mine"})

    def test_what_is_not_set_is_not_sent(self) -> None:
        for kind in TRANSCRIBERS:
            plain = Transcription(model="mine", kind=kind)
            self.assertEqual(plain.fields(), {"model": "mine"})


class ProfileTests(SynchronousTestCase):
    def test_the_default_accepts_a_language_and_does_not_retire_soon(self) -> None:
        transcription = AgentProfile(language="de").transcription
        assert transcription is not None
        self.assertEqual(transcription.kind, DEFAULT_TRANSCRIBER)
        self.assertEqual(
            transcription.fields(), {"model": DEFAULT_TRANSCRIBER, "language": "de"}
        )
        self.assertGreater((RETIREMENTS[DEFAULT_TRANSCRIBER] - TODAY).days, 180)

    def test_a_deployment_with_the_name_of_a_model_is_of_that_kind(self) -> None:
        transcription = profile(transcription_model="whisper-1").transcription
        assert transcription is not None
        self.assertEqual(transcription.kind, "whisper-1")

    def test_a_kind_decides_the_fields_of_a_deployment_of_any_name(self) -> None:
        transcription = profile(
            transcription_model="mine", transcription_kind="gpt-transcribe"
        ).transcription
        assert transcription is not None
        self.assertEqual((transcription.model, transcription.kind)[0], "mine")
        self.assertEqual(transcription.takes, TRANSCRIBERS["gpt-transcribe"])

    def test_a_kind_alone_names_the_deployment_as_well(self) -> None:
        transcription = profile(transcription_kind="gpt-transcribe").transcription
        assert transcription is not None
        self.assertEqual(transcription.model, "gpt-transcribe")

    def test_the_realtime_model_needs_no_deployment(self) -> None:
        transcription = profile(transcription_kind=REALTIME_MODEL).transcription
        assert transcription is not None
        self.assertTrue(transcription.is_by_the_model)
        with self.assertRaisesRegex(ConfigError, "transcription_model: leave it out"):
            profile(transcription_kind=REALTIME_MODEL, transcription_model="mine")

    def test_an_empty_model_means_no_transcription(self) -> None:
        self.assertIsNone(profile(transcription_model="").transcription)

    def test_a_field_that_the_kind_does_not_accept_is_an_error(self) -> None:
        for kind, key, value in (
            ("gpt-realtime-whisper", "transcription_prompt", "x"),
            ("gpt-4o-transcribe-diarize", "transcription_prompt", "x"),
            ("whisper-1", "transcription_keywords", ["x"]),
            ("gpt-4o-transcribe", "transcription_delay", "low"),
        ):
            with (
                self.subTest(kind=kind),
                self.assertRaisesRegex(ConfigError, f"{key}: {kind} does not accept"),
            ):
                profile(transcription_kind=kind, **{key: value})

    def test_a_prompt_needs_a_kind_that_is_known(self) -> None:
        with self.assertRaisesRegex(ConfigError, "transcription_kind is missing"):
            profile(transcription_model="mine", transcription_prompt="x")

    def test_values_out_of_range_are_errors(self) -> None:
        for key, value in (
            ("transcription_kind", "whisper-9"),
            ("transcription_kind", 3),
            ("transcription_delay", "none"),
            ("transcription_keywords", "x"),
        ):
            with self.subTest(key=key), self.assertRaises(ConfigError):
                profile(**{key: value})

    def test_a_language_that_is_not_sent_is_reported(self) -> None:
        notes = transcription_advice(
            {"a": profile(transcription_model="mine", language="de")}
        )
        self.assertIn("language is not sent", "".join(notes))
        self.assertEqual(list(transcription_advice({"a": AgentProfile()})), [])


class RetirementTests(SynchronousTestCase):
    def notices(self, today: date, **values: Any) -> str:
        deployment = DeploymentSettings(
            name="d", endpoint="https://x", deployment=values.pop("model", "mine")
        )
        settings = GatewaySettings(
            listen=(),
            deployments=(deployment,),
            agents={"default": AgentProfile(**values)},
        )
        return "\n".join(retirement_notices(settings, today))

    def test_each_retirement_is_reported_half_a_year_before(self) -> None:
        for kind in RETIREMENTS.keys() & TRANSCRIBERS.keys():
            with self.subTest(kind=kind):
                last = RETIREMENTS[kind]
                before = last - timedelta(days=SOON_DAYS)
                text = self.notices(before, transcription_kind=kind)
                self.assertIn(f"agents.default: {kind} retires on {last}", text)
                text = self.notices(before - timedelta(days=1), transcription_kind=kind)
                self.assertEqual(text, "")

    def test_a_deployment_is_assumed_to_have_the_model_of_its_name(self) -> None:
        text = self.notices(TODAY, model="gpt-realtime")
        self.assertIn("deployments.d: gpt-realtime retires on 2027-03-02", text)

    def test_the_retirement_of_whisper_is_reported_but_not_the_defaults(self) -> None:
        whisper = self.notices(TODAY, transcription_model="whisper-1")
        self.assertIn("whisper-1 retires on 2026-12-15", whisper)
        self.assertEqual(self.notices(TODAY), "")

    def test_a_past_retirement_is_reported_as_past(self) -> None:
        text = self.notices(date(2026, 12, 15), transcription_model="whisper-1")
        self.assertIn("whisper-1 has retired on 2026-12-15", text)

    def test_models_without_a_known_day_are_not_reported(self) -> None:
        for kind in (REALTIME_MODEL, "gpt-transcribe"):
            text = self.notices(TODAY, transcription_kind=kind)
            self.assertEqual(text, "")

    def test_the_documentation_has_the_same_days(self) -> None:
        root = Path(__file__).parents[2]
        text = (root / "docs" / "reference" / "agents.md").read_text(encoding="utf-8")
        rows = [line for line in text.splitlines() if line.startswith("| `")]
        for kind in TRANSCRIBERS:
            with self.subTest(kind=kind):
                (row,) = [r for r in rows if f"`{kind}`" in r.split("|")[1]]
                days = re.findall(r"\d{4}-\d{2}-\d{2}", row)
                known = [str(RETIREMENTS[kind])] if kind in RETIREMENTS else []
                self.assertEqual(days, known)
