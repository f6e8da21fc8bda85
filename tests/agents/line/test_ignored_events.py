"""The reports of a session that no call uses are ignored."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.ignored_events import IGNORED_EVENTS


class IgnoredEventsTests(SynchronousTestCase):
    def test_any_report_is_ignored(self) -> None:
        IGNORED_EVENTS.agent_lost("gone")
        IGNORED_EVENTS.agent_audio("r", "i", 0, b"x")
