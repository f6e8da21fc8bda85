"""
Captured calls as files: one JSON document a line, the first says whose call it is.

They hold speech and telephone numbers; nobody else may read them.  A thread of
its own writes.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import attrs
from twisted.logger import Logger

from chime_gateway import __version__
from chime_gateway.call.call import CallContext
from chime_gateway.call.capture import Entry, Take
from chime_gateway.call.record import CallRecord
from chime_gateway.errors import ConfigError
from chime_gateway.interfaces import Ending
from chime_gateway.profiles import AgentProfile

VERSION: Final = 2

#: Entries that wait for a disk that does not take them.
_MAX_WAITING: Final = 200_000

#: With these a call is over, or nearly so.
_LAST: Final = ("leg.leg_ended", "leg.hang_up")

#: Settings that open doors stay out.
_SECRETS: Final = frozenset({"secret", "bearer", "authorization"})


def encode(value: Any) -> Any:
    """Arguments as JSON has them."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Ending):
        return {"$ending": [value.outcome.value, value.reason]}
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _head(record: CallRecord, profile: AgentProfile, context: CallContext) -> Any:
    def shown(_: object, attribute: Any, value: Any) -> Any:
        if attribute is not None and attribute.name in _SECRETS:
            return ""
        return value

    return {
        "capture": VERSION,
        "gateway": __version__,
        "call_id": record.call_id,
        "carrier": record.carrier,
        "codec": record.codec,
        "direction": record.direction,
        "agent": record.agent_profile,
        "started_at": record.started_at,
        "info": attrs.asdict(record.info),
        "limits": attrs.asdict(context.limits),
        "profile": attrs.asdict(profile, value_serializer=shown),
    }


class CaptureFiles:
    """
    @raise ConfigError: the folder cannot be written to.
    """

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"--capture {folder}: {exc}") from exc
        self._queue: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._is_behind = False
        self._files: dict[str, IO[str]] = {}
        self._thread = threading.Thread(
            target=self._run, name="chimegw-captures", daemon=True
        )
        self._thread.start()

    def __call__(
        self, record: CallRecord, profile: AgentProfile, context: CallContext
    ) -> Take:
        call_id = record.call_id
        self._queue.put((call_id, _head(record, profile, context)))

        def write(entry: Entry) -> None:
            if self._queue.qsize() < _MAX_WAITING:
                self._queue.put((call_id, entry))
            elif not self._is_behind:
                self._is_behind = True
                self._log.error("the disk is too slow: captures have gaps")

        return Take(record, profile, context, write)

    def stop(self, seconds: float) -> None:
        self._queue.put(None)
        self._thread.join(seconds)

    # -- in the thread -----------------------------------------------------------

    def _run(self) -> None:
        try:
            while (job := self._queue.get()) is not None:
                self._write(*job)
        except OSError as exc:
            self._log.error("captures end here: {why}", why=str(exc))
        for file in self._files.values():
            file.close()

    def _write(self, call_id: str, what: Any) -> None:
        file = self._files.pop(call_id, None)
        is_over = isinstance(what, tuple) and what[3] in _LAST
        if file is None:
            path = self._folder / f"{call_id}.jsonl"
            # What comes behind the end of a call opens its file once more.
            is_over = is_over or path.exists()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            file = os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8")
        if isinstance(what, tuple):
            at, is_input, depth, name, arguments = what
            line: Any = [
                round(at, 6),
                ">" * depth if is_input else "<",
                name,
                *(encode(argument) for argument in arguments),
            ]
        else:
            line = what
        file.write(json.dumps(line, separators=(",", ":")) + "\n")
        if is_over:
            file.close()
        else:
            self._files[call_id] = file
