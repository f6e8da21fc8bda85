"""
Writes the log: one JSON object per line.

Every keyword of an event becomes a member, so that C{call_id} can be searched for.
Events are not filtered by content: callers of the logger must keep audio, secrets,
transcripts and telephone numbers out of level info and above.
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

#: Keys that Twisted adds to events for its own use.
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

#: DEL, C1 controls, direction marks, Unicode line breaks, lone surrogates.
_UNPRINTABLE: Final = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)

_PLAIN: Final = (str, int, float, bool, type(None), dict, list, tuple)


@implementer(ILogObserver)
class JsonLines:
    """Writes each event to C{out} as a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: LogEvent) -> None:
        try:
            text = json.dumps(members_of(event), default=repr, ensure_ascii=False)
            # JSON does not escape these, but terminals and line readers act on them.
            text = _UNPRINTABLE.sub(lambda c: f"\\u{ord(c[0]):04x}", text)
            self._out.write(text + "\n")
            self._out.flush()
        except OSError:
            # The reader of the log is gone; that must not end a call.
            pass


def members_of(event: LogEvent) -> dict[str, Any]:
    """Return the members of an event, by name."""
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
    Passes events on to an observer, with the current C{members} added.
    """

    def __init__(
        self, observer: Callable[[LogEvent], object], members: Mapping[str, str]
    ) -> None:
        self._observer = observer
        self._members = members

    def __call__(self, event: LogEvent) -> None:
        self._observer({**event, **self._members})


def json_log_observer(out: TextIO, level: LogLevel = LogLevel.info) -> ILogObserver:
    """Make an observer for events of C{level} and above."""
    return filtered(JsonLines(out), level)


def filtered(observer: ILogObserver, level: LogLevel) -> ILogObserver:
    """
    Limit an observer to events of C{level} and above, without routine messages of
    libraries.
    """
    predicate = LogLevelFilterPredicate(defaultLogLevel=level)
    # Autobahn logs failed handshakes at info; the gateway logs them itself.
    predicate.setLogLevelForNamespace("autobahn", LogLevel.warn)
    # Twisted logs at info each interim response of an HTTP server, which may send any
    # number of them, and the start and stop of the factory of each client connection.
    predicate.setLogLevelForNamespace("twisted.web._newclient", LogLevel.warn)
    predicate.setLogLevelForNamespace("twisted.web.client", LogLevel.warn)
    return FilteringLogObserver(observer, [predicate])
