from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.admission.nobody import Nobody
from chime_gateway.errors import AgentUnavailable, NoRoom


class NobodyTests(SynchronousTestCase):
    def test_it_says_why_there_is_nobody(self) -> None:
        failure = self.failureResultOf(Nobody("full").open(), NoRoom)
        self.assertEqual(failure.getErrorMessage(), "full")
        self.assertTrue(failure.check(AgentUnavailable))
