from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.lines import Lines
from chime_gateway.audio import PCMU
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import Limits
from tests.support.fakes import RecordingAgent, RecordingSessions


class _Call:
    """Ignores all reports."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class LinesTests(SynchronousTestCase):
    def test_sessions_after_the_first_are_opened_for_a_call_in_progress(self) -> None:
        clock, sessions = Clock(), RecordingSessions([])
        events: Any = _Call()
        opening = Lines(sessions, Limits()).open(
            AgentProfile(), PCMU, events, clock.seconds, 0.0
        )
        sessions.opening[0].callback(RecordingAgent([]))
        line = self.successResultOf(opening)
        sessions.events[0].agent_lost("gone")
        for _ in range(100):
            clock.advance(0.02)
            line.tick(clock.seconds())
        self.assertEqual(sessions.running, [False, True])
        line.close()
