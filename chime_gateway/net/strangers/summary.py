"""
Limits the log lines about strangers: a few lines of each kind, then a count of the
rest.

With a line for each refused connection, strangers could fill the disk.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.timer import Timer

#: Lines of each kind in L{SECONDS}; one more line counts the others.
LINES: Final = 10
SECONDS: Final = 60.0


class Summary:
    """
    Counts events by kind, and decides which of them are logged.

    Kinds are a few fixed texts, and never anything that a stranger has sent.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._told: Counter[str] = Counter()
        self._due = Timer(clock)

    def allows(self, kind: str) -> bool:
        """Count one event; return whether it may be logged."""
        if not self._due.is_running:
            self._due.start(SECONDS, self._tell)
        self._told[kind] += 1
        return self._told[kind] <= LINES

    def stop(self) -> None:
        """Log the counts that have not been logged yet."""
        if self._due.is_running:
            self._due.stop()
            self._tell()

    def _tell(self) -> None:
        told, self._told = self._told, Counter()
        for kind, count in sorted(told.items()):
            if count > LINES:
                self._log.warn(
                    "{kind}: {count} more, not logged one by one",
                    kind=kind,
                    count=count - LINES,
                )


class SummedLog:
    """
    Replaces Autobahn's logger for connections of strangers: Autobahn writes a line or
    two about each.
    """

    _log = Logger()

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def _tell(self, format: str, **values: object) -> None:
        if self._summary.allows("WebSocket of a stranger"):
            self._log.info(format, **values)

    info = warn = error = _tell

    def debug(self, format: str, **values: object) -> None:
        """Does nothing."""

    trace = debug
