"""
Writes captured calls to files: one JSON document per line; the first describes the
call.

The files contain speech and telephone numbers, so only their owner may read them.  A
separate thread writes them.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.logger import Logger

from chime_gateway import __version__
from chime_gateway.call.capture import CapturedCall
from chime_gateway.call.context import CallContext
from chime_gateway.call.reports.record import CallRecord
from chime_gateway.errors import ConfigError
from chime_gateway.history import History
from chime_gateway.interfaces import CarrierTraits
from chime_gateway.net.system.private_files import make_folder, private
from chime_gateway.net.worker import WorkerThread
from chime_gateway.outcomes import Ending
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import BuiltInTool

#: The version of the format.  4: a call may have several sessions, one after another.
VERSION: Final = 4

#: Maximum number of entries that wait for a slow disk.
_MAX_WAITING: Final = 200_000

#: Number of entries that are written together; each file is opened once per batch.
_BATCH: Final = 1000

#: Settings with credentials, which are left out.
_SECRETS: Final = frozenset({"secret", "bearer", "authorization"})


def encode(value: object) -> Any:
    """Convert an argument to its JSON form."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Ending):
        return {"$ending": [value.outcome.value, value.reason]}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, History):
        items = [[type(one).__name__, *attrs.astuple(one)] for one in value.items]
        return {"$history": {**attrs.asdict(value), "items": items}}
    return value


def _head(
    record: CallRecord,
    profile: AgentProfile,
    context: CallContext,
    traits: CarrierTraits,
) -> Any:
    def shown(_: object, attribute: Any, value: Any) -> Any:
        if attribute is not None and attribute.name in _SECRETS:
            return ""
        return value.name if isinstance(value, BuiltInTool) else encode(value)

    return {
        "capture": VERSION,
        "gateway": __version__,
        "call_id": record.call_id,
        "traits": attrs.asdict(traits),
        "codec": record.codec,
        "direction": record.direction,
        "is_recorded": context.recordings is not None,
        "agent": record.agent_profile,
        "started_at": record.started_at,
        "info": attrs.asdict(record.info),
        "limits": attrs.asdict(context.limits),
        "profile": attrs.asdict(profile, value_serializer=shown),
    }


class CaptureFiles:
    """
    The files of all captured calls.

    @raise ConfigError: the folder cannot be written to.
    @ivar counts: number of missing entries, by reason.
    @ivar worker: the thread that writes.
    """

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            make_folder(folder)
        except OSError as exc:
            raise ConfigError(f"--capture {folder}: {exc}") from exc
        self.counts: Counter[str] = Counter()
        # Missing entries since the disk has failed; 0: it works.
        self._missing = 0
        self.worker: WorkerThread[tuple[str, Any]] = WorkerThread(
            "captures", self._work, max_jobs=_MAX_WAITING, batch=_BATCH
        )

    def __call__(
        self,
        record: CallRecord,
        profile: AgentProfile,
        context: CallContext,
        traits: CarrierTraits,
    ) -> CapturedCall:
        call_id = record.call_id
        self.put(call_id, _head(record, profile, context, traits))
        return CapturedCall(
            record, profile, context, lambda entry: self.put(call_id, entry)
        )

    def start(self) -> None:
        self.worker.start()

    def put(self, call_id: str, what: object) -> None:
        """
        Write an entry, or the head of the file.

        @param what: the entry or head.
        """
        if not self.worker.offer((call_id, what)):
            if not self.counts["lost"]:
                self._log.error("the disk is too slow: captures have gaps")
            self.counts["lost"] += 1

    def stop(self, seconds: float) -> None:
        self.worker.stop(seconds)

    # -- in the thread -----------------------------------------------------------

    def _work(self, jobs: list[tuple[str, object]]) -> None:
        lines: dict[str, list[bytes]] = {}
        for call_id, what in jobs:
            try:
                line = _line(what)
            except (TypeError, ValueError):
                self.counts["refused"] += 1
                self.worker.note_bug()
            else:
                lines.setdefault(call_id, []).append(line)
        for call_id, some in lines.items():
            self._append(self._folder / f"{call_id}.jsonl", some)

    def _append(self, path: Path, lines: Sequence[bytes]) -> None:
        taken, why = 0, ""
        try:
            with FileIO(path, "a", opener=private) as file:
                taken, why = append_lines(file, lines)
        except OSError as exc:
            why = str(exc.strerror or exc)
        if why:
            if not self._missing:
                self._log.error("captures cannot be written: {why}", why=why)
            self._missing += len(lines) - taken
            self.counts["not_written"] += len(lines) - taken
        elif self._missing:
            self._log.info(
                "captures can be written again; {count} entries are missing",
                count=self._missing,
            )
            self._missing = 0


def _line(what: object) -> bytes:
    if isinstance(what, tuple):
        at, is_input, depth, name, arguments = what
        what = [
            at,
            ">" * depth if is_input else "<",
            name,
            *(encode(argument) for argument in arguments),
        ]
    return json.dumps(what, separators=(",", ":")).encode() + b"\n"


def append_lines(file: FileIO, lines: Sequence[bytes]) -> tuple[int, str]:
    """
    Append as many whole lines as there is room for.

    @return: the number of lines, and why not all; empty: all were written.
    """
    start = file.seek(0, os.SEEK_END)
    data = b"".join(lines)
    written = 0
    try:
        while written < len(data):
            written += file.write(memoryview(data)[written:])
    except OSError as exc:
        whole = data.rfind(b"\n", 0, written) + 1
        if whole < written:
            file.truncate(start + whole)
        return data.count(b"\n", 0, whole), str(exc.strerror or exc)
    return len(lines), ""
