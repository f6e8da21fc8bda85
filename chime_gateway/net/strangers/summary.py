"""
Summarizes in the log what strangers do: a few lines of each kind, then a count of the
rest.

Refusing a stranger costs a moment; a log line each would let strangers fill the disk.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.timer import Timer

#: So many lines of one kind, then one that counts the others.
LINES: Final = 10
SECONDS: Final = 60.0


class Summary:
    """
    Kinds are words of ours, and few: what a stranger says is none.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._told: Counter[str] = Counter()
        self._due = Timer(clock)

    def allows(self, kind: str) -> bool:
        """
        @return: whether this one may have a line; otherwise it is counted.
        """
        if not self._due.is_running:
            self._due.start(SECONDS, self._tell)
        self._told[kind] += 1
        return self._told[kind] <= LINES

    def stop(self) -> None:
        """Say what has not been said yet."""
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
    Takes the place of Autobahn's logger where a stranger is the other side: it would
    write a line or two of each.
    """

    _log = Logger()

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def _tell(self, format: str, **values: Any) -> None:
        if self._summary.allows("WebSocket of a stranger"):
            self._log.info(format, **values)

    info = warn = error = _tell

    def debug(self, format: str, **values: Any) -> None:
        """Nobody asks for that."""

    trace = debug
