"""
Counts and logs failures in a conversation that do not end it.

Only the first few failures of each kind are logged, so that a service that keeps
failing does not fill the log.  The record counts all of them.
"""

from __future__ import annotations

from typing import Final

from attrs import define
from twisted.logger import Logger

from chime_gateway.call.reports.record import CallRecord

#: Maximum log lines of each kind per call, and characters of a quoted text in a line.
MAX_LINES: Final = 20
_MAX_CHARS: Final = 300


_log: Final = Logger()


@define(eq=False)
class Failures:
    _record: CallRecord

    def response_failed(self, status: str, detail: str) -> None:
        self._record.failed_responses += 1
        if self._record.failed_responses <= MAX_LINES:
            _log.warn(
                "the agent's response is {status}: {detail}",
                call_id=self._record.call_id,
                status=status,
                detail=detail[:_MAX_CHARS],
            )

    def tool_failed(self, tool: str, fault: str) -> None:
        self._record.failed_tool_calls += 1
        if self._record.failed_tool_calls <= MAX_LINES:
            _log.warn(
                "the tool {tool} failed: {fault}",
                call_id=self._record.call_id,
                tool=tool[:_MAX_CHARS],
                fault=fault[:_MAX_CHARS],
            )
