from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.admission.no_agent_lines import NoAgentLines
from chime_gateway.errors import AgentUnavailable, NoRoom


class NoAgentLinesTests(SynchronousTestCase):
    def test_opening_a_line_fails_with_the_reason(self) -> None:
        failure = self.failureResultOf(NoAgentLines("full").open(), NoRoom)
        self.assertEqual(failure.getErrorMessage(), "full")
        self.assertTrue(failure.check(AgentUnavailable))
