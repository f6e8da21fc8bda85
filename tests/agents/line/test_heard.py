"""Responses that end, or do not, within their audio."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.line import Line
from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import PCMU
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from tests.support.fakes import RecordingAgent, RecordingSessions

WORDS = ("eleven", "people", "have", "called", "about", "that", "garden", "today")
SENTENCE = " ".join(WORDS * 4)
WORD_MS = len(SENTENCE) * 70 // len(SENTENCE.split())


class _Call:
    def __init__(self) -> None:
        self.short: list[str] = []

    def agent_fell_short(self, item_id: str) -> None:
        self.short.append(item_id)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class HeardTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        count=st.integers(1, 31),
        is_done=st.booleans(),
        is_text_final=st.booleans(),
        end=st.sampled_from(["failed", "incomplete", "cancelled", "lost", "completed"]),
        is_cut=st.booleans(),
    )
    def test_only_a_completed_response_has_spoken_its_whole_text(
        self, count: int, is_done: bool, is_text_final: bool, end: str, is_cut: bool
    ) -> None:
        """The service may have reported before that its audio is done."""
        if end == "lost":
            is_done = False
        call: Any = _Call()
        sessions = RecordingSessions([])
        clock = Clock()
        opening = Lines(sessions, Limits()).open(
            AgentProfile(), PCMU, call, clock.seconds, 0.0
        )
        sessions.opening[0].callback(RecordingAgent([]))
        line: Any = self.successResultOf(opening)
        assert isinstance(line, Line)
        events = sessions.events[0]
        events.response_started("r")
        events.agent_said("i", SENTENCE, False)
        ms = count * WORD_MS
        for _ in range(count):
            events.agent_audio("r", "i", 0, b"\x00" * (WORD_MS * 8))
        if is_cut:
            line.heard("i", ms // 2, ms, True)
        if is_done:
            events.agent_audio_done("i")
        if is_text_final:
            events.agent_said("i", SENTENCE, True)
        if end == "lost":
            events.agent_lost("gone")
        else:
            events.response_done("r", end, "", {})
        if not is_cut:
            line.heard("i", ms, ms, False)
        told = line.memory.heard_text("i").split()
        if end == "completed" and not is_cut:
            self.assertGreaterEqual(len(told), 31)
            self.assertEqual(call.short, [])
        else:
            heard = count / 2 if is_cut else count
            self.assertLessEqual(len(told), heard + 2)
            self.assertEqual(call.short, ["i"] if end != "completed" else [])
        line.close()
