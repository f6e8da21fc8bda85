from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.backlog import Backlog
from chime_gateway.audio import PCMU

FRAME = bytes(range(160))


class BacklogTests(SynchronousTestCase):
    def start(self) -> None:
        self.dropped = 0
        self.backlog = Backlog(PCMU, lambda _: True, self.drop)

    def drop(self, reason: str, byte_count: int) -> None:
        self.assertEqual(reason, "overdue")
        self.dropped += byte_count // 160

    def beat(self) -> int:
        """One frame is added, and one is taken."""
        self.backlog.came()
        self.backlog.add(FRAME)
        before = self.dropped
        sent = self.backlog.take()
        assert sent is not None
        self.assertEqual(len(sent), 160)
        self.backlog.beat()
        return self.dropped - before

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 500), st.integers(0, 300))
    def test_an_excess_is_reduced_and_dropped_at_once_only_after_a_stall(
        self, waiting: int, stood: int
    ) -> None:
        self.start()
        for _ in range(waiting):
            self.backlog.add(FRAME)
        if stood:
            self.backlog.stood_still(stood)
        steps = [self.beat() for _ in range(30 + waiting)]
        self.assertEqual(waiting - len(self.backlog.frames), self.dropped)
        self.assertLess(len(self.backlog.frames), 4)
        self.assertLessEqual(max(steps), max(1, min(stood, waiting - 60)))
        late = max(0, waiting - stood)
        self.assertEqual(sum(steps[max(late, 60) + 21 :]), 0)
