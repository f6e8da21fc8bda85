"""
Writes the log for people at a terminal, one event per line: time of day, level,
message, and the event's other members.

L{chime_gateway.app.log.lines} is for machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from chime_gateway.app.log.lines import filtered, members_of
from chime_gateway.net.system.standard_output import printable

#: Members that every event has; they are not repeated at the end of a line.
_EVERYWHERE: Final = frozenset({"time", "level", "source", "event", "process"})
_SIMPLE: Final = (str, int, float, bool)

#: Longer values are left out.
_MOST_CHARS: Final = 60
_WIDTH: Final = 8


@implementer(ILogObserver)
class ReadableLines:
    """Writes each event to C{out}."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: LogEvent) -> None:
        members = members_of(event)
        when = datetime.fromtimestamp(event.get("log_time", 0.0)).strftime("%H:%M:%S")
        level = str(members["level"])
        text = printable(str(members["event"]))
        more = " ".join(_more(members, text))
        lines = [f"{when} {level:{_WIDTH}} {text}{'  ' if more else ''}{more}"]
        for line in str(members.get("traceback", "")).splitlines():
            lines.append(f"{'':{_WIDTH}} | {printable(line)}")
        try:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()
        except OSError:
            # The reader of the log is gone; that must not end a call.
            pass


def _more(members: dict[str, object], text: str) -> Iterator[str]:
    """Yield the members that the text does not contain."""
    for name, value in members.items():
        if name in _EVERYWHERE or name == "traceback" or not isinstance(value, _SIMPLE):
            continue
        shown = printable(str(value))
        if shown and shown not in text and len(shown) <= _MOST_CHARS:
            yield f"{name}={shown}"


def readable_log_observer(out: TextIO, level: LogLevel = LogLevel.info) -> ILogObserver:
    """Make an observer for events of C{level} and above."""
    return filtered(ReadableLines(out), level)
