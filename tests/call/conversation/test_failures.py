from __future__ import annotations

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.conversation.failures import MAX_LINES, Failures
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.outcomes import CallerInfo


class FailuresTests(SynchronousTestCase):
    def test_all_are_counted_and_some_are_logged_in_short_lines(self) -> None:
        lines: list[LogEvent] = []

        def observe(event: LogEvent) -> None:
            lines.append(event)

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[arg-type]
        record = CallRecord(
            call_id="c",
            carrier="sip",
            agent_profile="default",
            codec="PCMU",
            info=CallerInfo(),
            started_at=0.0,
        )
        failures = Failures(record)
        for _ in range(1000):
            failures.response_failed("failed", "x" * 10_000)
            failures.tool_failed("y" * 10_000, "z" * 10_000)
        self.assertEqual(record.failed_responses, 1000)
        self.assertEqual(record.failed_tool_calls, 1000)
        self.assertEqual(len(lines), 2 * MAX_LINES)
        self.assertLess(max(len(str(line)) for line in lines), 2000)
