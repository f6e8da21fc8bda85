"""
Writes the log: one JSON object per line.

Every keyword of an event becomes a member, so that C{call_id} can be searched for.
Events are written as they come: whoever logs must keep audio, secrets, transcripts
and phone numbers out of level info and above.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
)
from zope.interface import implementer

#: What Twisted puts into events for its own use.
_INTERNAL: Final = frozenset(
    {
        "log_logger",
        "log_format",
        "log_level",
        "log_namespace",
        "log_source",
        "log_time",
        "log_failure",
        "log_flattened",
        "log_system",
        "log_legacy",
        "log_trace",
        "log_text",
        "log_io",
        "format",
        "message",
        "time",
        "system",
        "isError",
        "failure",
        "why",
        "logLevel",
    }
)

#: DEL, C1, marks that turn the direction, line breaks of Unicode, halves.
_UNPRINTABLE: Final = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)

_PLAIN: Final = (str, int, float, bool, type(None), dict, list, tuple)


@implementer(ILogObserver)
class JsonLines:
    """Write each event to C{out} as a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: LogEvent) -> None:
        try:
            text = json.dumps(members_of(event), default=repr, ensure_ascii=False)
            # What JSON leaves as it is: a terminal, or a reader of lines, does not.
            text = _UNPRINTABLE.sub(lambda c: f"\\u{ord(c[0]):04x}", text)
            self._out.write(text + "\n")
            self._out.flush()
        except OSError:
            # The reader of our log is gone; that must not end a call.
            pass


def members_of(event: LogEvent) -> dict[str, Any]:
    """The members of an event, by name."""
    level = event.get("log_level")
    members: dict[str, Any] = {
        "time": formatTime(event["log_time"]) if "log_time" in event else None,
        "level": getattr(level, "name", "info"),
        "source": event.get("log_namespace", ""),
        "event": formatEvent(event),
    }
    for name, value in event.items():
        if name not in _INTERNAL and name not in members:
            members[name] = value if isinstance(value, _PLAIN) else str(value)
    failure = event.get("log_failure")
    if failure is not None:
        members["traceback"] = failure.getTraceback()
    return members


@implementer(ILogObserver)
class WithMembers:
    """
    An observer of the same events, each with C{members} as they are then.
    """

    def __init__(
        self, observer: Callable[[LogEvent], object], members: Mapping[str, str]
    ) -> None:
        self._observer = observer
        self._members = members

    def __call__(self, event: LogEvent) -> None:
        self._observer({**event, **self._members})


def json_log_observer(out: TextIO, level: LogLevel = LogLevel.info) -> ILogObserver:
    """An observer for everything from C{level} up."""
    return filtered(JsonLines(out), level)


def filtered(observer: ILogObserver, level: LogLevel) -> ILogObserver:
    """
    The same for what is from C{level} up, and without what libraries say of their own
    work.
    """
    predicate = LogLevelFilterPredicate(defaultLogLevel=level)
    # Autobahn says at info when it fails a handshake; we say it ourselves.
    predicate.setLogLevelForNamespace("autobahn", LogLevel.warn)
    # Twisted says at info each interim answer of an HTTP server, which may send any
    # number; and of each connection of a client that its factory starts and stops.
    predicate.setLogLevelForNamespace("twisted.web._newclient", LogLevel.warn)
    predicate.setLogLevelForNamespace("twisted.web.client", LogLevel.warn)
    return FilteringLogObserver(observer, [predicate])
