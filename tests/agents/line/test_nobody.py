"""Nobody hears a session that was let go."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.nobody import NOBODY


class NobodyTests(SynchronousTestCase):
    def test_it_may_be_told_anything(self) -> None:
        NOBODY.agent_lost("gone")
        NOBODY.agent_audio("r", "i", 0, b"x")
