"""
Writes the log in a thread, so that a slow reader of the log delays nothing else.

A full pipe, a stopped terminal, and a journal or a disk that hangs block only this
thread.  The queue is limited: lines that do not fit are dropped and counted.  When
writing continues, the log reports how many lines are missing at that place.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from io import TextIOBase
from typing import Final, Protocol, TypeAlias

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from chime_gateway.net.worker import NO_MEMORY_SECONDS

#: The size of the queue: an hour of a quiet gateway, seconds of a very busy one.
MAX_LINES: Final = 10_000
MAX_CHARS: Final = 4_000_000

#: At the end, the process waits this long for a reader that reads nothing, and for one
#: that is slow.
_IDLE_SECONDS: Final = 2.0
_MOST_SECONDS: Final = 10.0

_Job: TypeAlias = Callable[[], object]


class Output(Protocol):
    """The methods of a file that Twisted's observers use."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


class RawOutput(TextIOBase):
    """
    Writes to a descriptor without a buffer that Python would flush at exit.

    @ivar descriptor: blocking or not; another process that shares it may change that.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def write(self, text: str) -> int:
        """
        Write C{text}; blocks until all of it is written.

        @raise OSError: it could not be written.
        """
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self.descriptor, data) :]
            except BlockingIOError:
                writable = select.poll()
                writable.register(self.descriptor, select.POLLOUT)
                writable.poll()
        return len(text)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


class LogThread:
    """
    Writes lines that any thread may put into the queue without blocking.

    @param announce: called, in this thread, with an event that says how many lines are
        missing.
    @ivar lost: the number of lines that were not written.
    """

    def __init__(
        self,
        announce: Callable[[LogEvent], object],
        max_lines: int = MAX_LINES,
        max_chars: int = MAX_CHARS,
    ) -> None:
        self.lost = 0
        self._announce = announce
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._jobs: deque[tuple[_Job, int]] = deque()
        self._chars = 0
        self._unreported = 0
        self._unreported_failures = 0
        self._done = 0
        self._is_losing = False
        self._is_closing = False
        # Reentrant: garbage collection may run, and log, while the lock is held.
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None

    # -- from any thread -----------------------------------------------------------

    def put(self, job: _Job, chars: int = 0) -> None:
        """
        Queue a line; return at once.  Before the start, lines wait.

        @param job: writes the line.
        """
        with self._changed:
            if self._is_losing:
                # Drop until the queue is half empty: one long gap, not many short ones.
                self._is_losing = (
                    len(self._jobs) > self._max_lines // 2
                    or self._chars > self._max_chars // 2
                )
            elif self._jobs:
                self._is_losing = (
                    len(self._jobs) >= self._max_lines
                    or self._chars + chars > self._max_chars
                )
            if self._is_losing or self._is_closing:
                self.lost += 1
                self._unreported += 1
                return
            if self._unreported:
                self._jobs.append((self._gap_report(), 0))
            self._jobs.append((job, chars))
            self._chars += chars
            self._changed.notify()

    def start(self) -> None:
        """Start in the final process: threads do not survive the fork to a daemon."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="chimegw-log", daemon=True
            )
            self._thread.start()

    def close(
        self, idle_seconds: float = _IDLE_SECONDS, most_seconds: float = _MOST_SECONDS
    ) -> bool:
        """
        Write the waiting lines, for as long as the reader accepts them.

        @return: whether all are written.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        thread = self._thread
        if thread is None:
            self._run()
            return True
        end = time.monotonic() + most_seconds
        while thread.is_alive() and time.monotonic() < end:
            done = self._done
            thread.join(min(idle_seconds, most_seconds))
            if self._done == done:
                break
        return not thread.is_alive()

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    # -- in the thread -------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                job = self._next()
            except MemoryError:
                # Waiting allocates a lock, for which there may be no memory.
                time.sleep(NO_MEMORY_SECONDS)
                continue
            if job is None:
                return
            self._do(job)
            self._done += 1

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._jobs or self._unreported or self._is_closing
            )
            if self._jobs:
                job, chars = self._jobs.popleft()
                self._chars -= chars
                return job
            return self._gap_report() if self._unreported else None

    def _gap_report(self) -> _Job:
        report = partial(self._report_gap, self._unreported)
        self._unreported = 0
        return report

    def _report_gap(self, lost: int) -> None:
        try:
            self._announce(_lost_event(lost))
        except Exception:
            self._unreported_failures += lost

    def _do(self, job: _Job) -> None:
        if self._unreported_failures:
            failures, self._unreported_failures = self._unreported_failures, 0
            self._report_gap(failures)
        try:
            job()
        except Exception:
            # The reader is gone, the disk is full, or the observer has a bug.  The
            # failure cannot be logged; the next line may succeed.
            with self._changed:
                self.lost += 1
            self._unreported_failures += 1


def _lost_event(lost: int) -> LogEvent:
    return {
        "log_format": "{lost} lines were lost: the log was not read fast enough",
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "log_system": __name__,
        "log_time": time.time(),
        "lost": lost,
    }


class QueuedOutput(TextIOBase):
    """
    An L{Output} whose lines are written by the thread.

    It is a C{TextIOBase} so that Twisted writes texts to it, not bytes.
    """

    def __init__(self, thread: LogThread, output: Output) -> None:
        super().__init__()
        self._thread = thread
        self._output = output

    def write(self, text: str) -> int:
        # A lone surrogate, for instance from a peer's JSON, cannot be encoded.
        text = text.encode("utf-8", "backslashreplace").decode()
        self._thread.put(partial(self._write, text), len(text))
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread flushes."""

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


@implementer(ILogObserver)
class QueuedObserver:
    """Passes events to the operator's own observer, in the thread."""

    def __init__(self, thread: LogThread, observer: Callable[[LogEvent], object]):
        self._thread = thread
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        self._thread.put(partial(self._observer, event))
