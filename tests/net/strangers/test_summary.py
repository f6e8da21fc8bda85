from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.strangers.summary import LINES, SECONDS, Summary

KINDS = st.sampled_from(("slow", "wrong token"))


class SummaryTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(KINDS, st.integers(1, 300), st.floats(0, 2 * SECONDS))))
    def test_lines_are_few_and_every_event_is_counted(
        self, waves: list[tuple[str, int, float]]
    ) -> None:
        clock = Clock()
        summary = Summary(clock)
        counted: list[int] = []

        def see(event: dict[str, object]) -> None:
            if "not logged one by one" in str(event.get("log_format")):
                counted.append(int(str(event["count"])))

        seen: Any = see
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        lines = 0
        for kind, count, pause in waves:
            lines += sum(summary.allows(kind) for _ in range(count))
            clock.advance(pause)
        minutes = 1 + clock.seconds() / SECONDS
        self.assertLessEqual(lines + len(counted), 2 * minutes * (LINES + 1))
        summary.stop()
        self.assertEqual(lines + sum(counted), sum(count for _, count, _ in waves))
        self.assertEqual(clock.getDelayedCalls(), [])
        globalLogPublisher.removeObserver(seen)
