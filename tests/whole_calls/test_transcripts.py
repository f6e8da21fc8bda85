"""
Transcription of what callers say: whole calls with each kind of
transcriber, and each way in which the service refuses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.reports.events import CallEnded, TurnCompleted
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.transcribers import REALTIME_MODEL, TRANSCRIBERS
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.transcription import (
    OTHER_COMPLETED,
    Refusal,
    Transcription,
)
from chime_gateway.sim.realtime.voices import Script
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_media_stream import SHORT, phrase

TURNS = 2


class VirtualTranscriptTests(SynchronousTestCase):
    def run_call(
        self,
        profile: AgentProfile,
        transcription: Transcription | None = None,
        **more: Any,
    ) -> VirtualCall:
        behaviour = (
            Behaviour()
            if transcription is None
            else Behaviour(transcription=transcription)
        )
        plan = CallPlan(
            utterances=(phrase(PCMU, *SHORT),) * TURNS,
            interrupt_after_seconds=(None,) * (TURNS - 1),
        )
        call = VirtualCall(plan, behaviour=behaviour, profile=profile, **more)
        report = call.run()
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED)
        # The caller is answered, whatever happens to the text.
        self.assertEqual(len(report.answer_latencies), TURNS)
        return call

    def texts(self, call: VirtualCall) -> list[str]:
        ended = call.events[-1].payload
        assert isinstance(ended, CallEnded)
        return [turn.text for turn in ended.transcript if turn.speaker == "caller"]

    def test_every_kind_transcribes_in_both_dialects_with_its_own_settings(
        self,
    ) -> None:
        for kind in TRANSCRIBERS:
            for is_preview in (False, True):
                with self.subTest(kind=kind, is_preview=is_preview):
                    profile = AgentProfile(
                        transcription_kind=kind,
                        transcription_model=kind,
                        language="en",
                        transcription_prompt="Names: Smith",
                        transcription_keywords=("Smith",),
                        transcription_delay="low",
                    )
                    call = self.run_call(profile, is_preview=is_preview)
                    (session,) = call.agents.sessions
                    self.assertEqual(session.log.errors, [])
                    self.assertEqual(call.measures.texts_missed, [])
                    texts = self.texts(call)
                    self.assertEqual([bool(text) for text in texts], [True] * TURNS)

    def test_the_model_itself_transcribes_without_a_deployment(self) -> None:
        profile = AgentProfile(transcription_kind=REALTIME_MODEL)
        with_whisper = self.run_call(AgentProfile(transcription_model="whisper-1"))
        call = self.run_call(profile, Transcription())
        self.assertEqual(self.texts(call), self.texts(with_whisper))
        (record,) = call.measures.records
        self.assertEqual(record.responses, TURNS)
        (other,) = with_whisper.measures.records
        self.assertGreater(record.tokens["input_tokens"], other.tokens["input_tokens"])

    def test_no_refusal_ends_a_call_or_delays_an_answer(self) -> None:
        forms = {
            Refusal.UPDATE: ["refused"],
            Refusal.UPDATE_UNCORRELATED: ["refused"],
            Refusal.NOT_FOUND: ["failed"] * TURNS,
            Refusal.FAILED: ["failed"] * TURNS,
            # The call is over before it is clear that no text will come.
            Refusal.SILENCE: [],
        }
        for refusal, missed in forms.items():
            for is_preview in (False, True):
                with self.subTest(refusal=refusal, is_preview=is_preview):
                    call = self.run_call(
                        AgentProfile(),
                        Transcription(refusal=refusal),
                        is_preview=is_preview,
                    )
                    self.assertEqual(call.measures.texts_missed, missed)
                    self.assertEqual(self.texts(call), [""] * TURNS)

    def test_a_resource_without_the_transcriber_s_deployment_still_answers(
        self,
    ) -> None:
        call = self.run_call(AgentProfile(), Transcription())
        self.assertEqual(call.measures.texts_missed, ["failed"] * TURNS)

    def test_settings_that_do_not_fit_the_deployment_cost_only_the_text(self) -> None:
        """The deployment's kind differs from its settings."""
        profile = AgentProfile(
            transcription_model="mine",
            transcription_kind="gpt-realtime-whisper",
            transcription_delay="low",
            voice="cedar",
        )
        call = self.run_call(
            profile, Transcription(deployments={"mine": "gpt-4o-transcribe"})
        )
        self.assertEqual(call.measures.texts_missed, ["refused"])

    def test_the_other_name_of_the_event_is_accepted(self) -> None:
        transcription = Transcription(
            deployments={"gpt-4o-mini-transcribe": "gpt-4o-mini-transcribe"},
            completed_event=OTHER_COMPLETED,
        )
        call = self.run_call(AgentProfile(), transcription)
        self.assertEqual([bool(text) for text in self.texts(call)], [True] * TURNS)


class InterruptedReplyTests(SynchronousTestCase):
    """An ordinary short reply of one second, interrupted at every moment."""

    def run_call(self, after_seconds: float, *, is_raw: bool) -> VirtualCall:
        said = phrase(PCMU, *SHORT)
        plan = CallPlan(
            utterances=(said, said), interrupt_after_seconds=(after_seconds,)
        )
        reply = {"tone": 440, "seconds": 1.0, "say": "A quick reply."}
        call = VirtualCall(plan, is_raw=is_raw, voice=Script([[reply]], Path(".")))
        call.run()
        return call

    def test_each_turn_of_the_agent_is_reported_at_once_in_order_and_complete(
        self,
    ) -> None:
        for is_raw in (False, True):
            for phase in range(28):
                with self.subTest(is_raw=is_raw, phase=phase):
                    call = self.run_call(phase * 0.05, is_raw=is_raw)
                    told = [
                        event.payload.turn
                        for event in call.events
                        if isinstance(event.payload, TurnCompleted)
                        and event.payload.turn.speaker == "agent"
                    ]
                    self.assertEqual(len(told), 2)
                    self.assertLess(told[0].number, told[1].number)
                    for turn in told:
                        assert turn.heard is not None
                        assert turn.heard.heard_ms is not None
                        self.assertLessEqual(turn.heard.heard_ms, 1000)
