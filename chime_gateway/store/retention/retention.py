"""
Deletes rows and files that are older than the configured limit.

It works in small steps, so that new entries can be written in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final, Protocol

from twisted.logger import Logger

from chime_gateway.store.retention.files import old_captures, old_recordings

#: How often it runs.
_EVERY_SECONDS: Final = 3600.0

#: The number of rows or files in a step: some 50 ms.
BATCH: Final = 500

_DAY_SECONDS: Final = 86_400.0


class Rows(Protocol):
    """Deletes rows of a database, C{limit} at a time."""

    def forget_calls(self, before: float, limit: int) -> list[str]: ...
    def forget_deliveries(self, before: float, limit: int) -> int: ...
    def forget_instances(self, before: float, limit: int) -> int: ...


class Retention:
    """
    Deletes old calls, deliveries, gateways, recordings and captures.

    @param days: the age limit; 0: nothing is deleted.
    @param path_of: returns the file of a recording, if it is on this machine.
    @param recordings: the folder of recordings; C{captures}: that of captures.
    @param wall_time: returns Unix seconds.
    """

    _log = Logger()

    def __init__(
        self,
        rows: Rows,
        days: float,
        *,
        path_of: Callable[[str], Path | None],
        recordings: Path | None,
        captures: Path | None,
        wall_time: Callable[[], float],
    ) -> None:
        self._rows = rows
        self._days = days
        self._path_of = path_of
        self._recordings = recordings
        self._captures = captures
        self._wall_time = wall_time
        self._steps: Iterator[int] | None = None
        self._due_at = 0.0
        self._count = 0

    @property
    def is_under_way(self) -> bool:
        return self._steps is not None

    def step(self) -> bool:
        """
        Do one step, if it is due.

        @return: whether there is more to do at once.
        @raise DatabaseUnavailable: it cannot be used now; the next step starts anew.
        """
        if self._steps is None:
            if not self._days or time.monotonic() < self._due_at:
                return False
            self._count = 0
            self._steps = self._all(self._wall_time() - self._days * _DAY_SECONDS)
        steps, self._steps = self._steps, None
        count = next(steps, None)
        if count is not None:
            self._count += count
            self._steps = steps
            return True
        self._due_at = time.monotonic() + _EVERY_SECONDS
        if self._count:
            self._log.info("removed {count} old rows and files", count=self._count)
        return False

    def _all(self, before: float) -> Iterator[int]:
        """Delete everything that is old; yield the size of each batch."""
        found = BATCH
        while found >= BATCH:
            recordings = self._rows.forget_calls(before, BATCH)
            for path in map(self._path_of, filter(None, recordings)):
                if path is not None:
                    self._remove(path)
            found = len(recordings)
            yield found
        for forget in (self._rows.forget_deliveries, self._rows.forget_instances):
            found = BATCH
            while found >= BATCH:
                found = forget(before, BATCH)
                yield found
        files = chain(
            old_recordings(self._recordings, before) if self._recordings else (),
            old_captures(self._captures, before) if self._captures else (),
        )
        while batch := list(islice(files, BATCH)):
            yield sum(map(self._remove, batch))

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            self._log.error("could not remove an old file: {why}", why=str(exc))
            return False
        return True
