"""Whole calls with an agent that chooses to say nothing in answer to a turn."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, note, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.call.reports.events import CallEnded
from chime_gateway.codec.tone import tone
from chime_gateway.media.pump import MediaPump
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.sim.caller.caller import CallPlan
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.responses import ResponseFault
from chime_gateway.sim.realtime.voices import Part, Speech, Turn
from tests.support.virtual import VirtualCall
from tests.whole_calls.test_media_stream import SHORT, phrase

ANSWER = "An answer."


class Obedient:
    def answer(self, turn: Turn) -> Sequence[Part]:
        return [Speech(tone(turn.output_codec, 440, 0.5), turn.instructions)]


class ChosenSilenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        # This caller takes every sound for an answer.
        self.patch(MediaPump, "play_tone", lambda pump: None)

    def run_call(self, fault: str, patience: float, later: str = "") -> VirtualCall:
        """
        @param later: the fault of later sessions; empty: the same.
        @param patience: how long the caller waits for each answer, in seconds.
        """
        call = VirtualCall(
            CallPlan(
                utterances=(phrase(PCMU, *SHORT),) * 3,
                wait_for_greeting=True,
                answer_seconds=patience,
            ),
            voice=Obedient(),
            profile=AgentProfile(instructions=ANSWER, greeting="Hello."),
            behaviour=Behaviour(responses=[ResponseFault.read(fault)]),
            later=Behaviour(responses=[ResponseFault.read(later or fault)]),
        )
        call.run(200.0)
        return call

    @settings(max_examples=9, deadline=None)
    @given(st.integers(0, 2), st.booleans())
    def test_the_call_continues(self, turn: int, is_choice: bool) -> None:
        """Silence is three responses in each of two sessions, or only in the first."""
        note(f"{turn} {is_choice}")
        fault = f"completed@{2 + turn}-{4 + turn}"
        call = self.run_call(fault, 30.0, "completed@1-3" if is_choice else "failed@99")
        ended = call.events[-1].payload
        assert isinstance(ended, CallEnded)
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.COMPLETED)
        self.assertEqual(len(call.agents.sessions), 2)
        notes = {"asked_again.answer", "came_to_nothing.silence"}
        self.assertLessEqual(notes, set(record.protocol_notes))
        said = [turn.text for turn in ended.transcript if turn.speaker == "agent"]
        # The greeting, and an answer to each turn, or "are you still there?".
        self.assertEqual(len(said), 4)
        asked = [text for text in said if "still there" in text]
        self.assertEqual(len(asked), int(is_choice))

    @settings(max_examples=4, deadline=None)
    @given(st.sampled_from(("completed@2-", "completed:text@2-", "incomplete@2-")))
    def test_an_agent_that_says_nothing_at_all_is_given_up(self, fault: str) -> None:
        call = self.run_call(fault, 100.0, fault.replace("@2-", "@1-"))
        (record,) = call.measures.records
        assert record.ending is not None
        self.assertIs(record.ending.outcome, Outcome.AGENT_LOST)
        self.assertLess(record.duration_seconds, 45.0)
