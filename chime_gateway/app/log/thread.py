"""
Writes the log in a thread, so that a slow reader of it delays nothing else.

A full pipe, a stopped terminal, a journal or a disk that hangs hold up only this
thread.  The queue is limited: what does not fit is dropped and counted, and the log
reports the gap where it is, as soon as it goes on.
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

#: So much waits: an hour of a quiet gateway, seconds of a storm.
MAX_LINES: Final = 10_000
MAX_CHARS: Final = 4_000_000

#: The end of the process waits for a reader that takes nothing, and for one that is
#: slow.
_IDLE_SECONDS: Final = 2.0
_MOST_SECONDS: Final = 10.0

_Job: TypeAlias = Callable[[], object]


class Output(Protocol):
    """The methods of a file that Twisted's observers use."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


class RawOutput(TextIOBase):
    """
    A descriptor, without a buffer that Python would want to empty at the end.

    @ivar descriptor: it may block or not, whoever else has it decides.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def write(self, text: str) -> int:
        """
        Blocks until all is written.

        @raise OSError: it is not.
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
        """There is nothing to do."""


class LogThread:
    """
    Any thread gives, and none of them waits.

    @param announce: given an event that says how many lines are missing; called in
        the thread.
    @ivar lost: lines that were not written.
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
        self._untold = 0
        self._untold_failures = 0
        self._done = 0
        self._is_losing = False
        self._is_closing = False
        # The collector of garbage may run, and log, in here: the lock may be taken
        # again by whoever has it.
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None

    # -- from any thread -----------------------------------------------------------

    def put(self, job: _Job, chars: int = 0) -> None:
        """
        Have a line written; returns at once.  Before the start it waits.

        @param job: writes it.
        """
        with self._changed:
            if self._is_losing:
                # One gap, and not one between any two lines.
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
                self._untold += 1
                return
            if self._untold:
                self._jobs.append((self._telling(), 0))
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
        Write what waits, for as long as somebody takes it.

        @return: all is written.
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
                # Waiting takes a lock of its own, for which there may be no memory.
                time.sleep(NO_MEMORY_SECONDS)
                continue
            if job is None:
                return
            self._do(job)
            self._done += 1

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._jobs or self._untold or self._is_closing
            )
            if self._jobs:
                job, chars = self._jobs.popleft()
                self._chars -= chars
                return job
            return self._telling() if self._untold else None

    def _telling(self) -> _Job:
        telling = partial(self._tell, self._untold)
        self._untold = 0
        return telling

    def _tell(self, lost: int) -> None:
        try:
            self._announce(_lost_event(lost))
        except Exception:
            self._untold_failures += lost

    def _do(self, job: _Job) -> None:
        if self._untold_failures:
            failures, self._untold_failures = self._untold_failures, 0
            self._tell(failures)
        try:
            job()
        except Exception:
            # Its reader is gone, its disk is full, its observer has a bug: there is
            # nobody to tell, and the next line may be written again.
            with self._changed:
                self.lost += 1
            self._untold_failures += 1


def _lost_event(lost: int) -> LogEvent:
    return {
        "log_format": "{lost} lines were lost: nobody took them from the log",
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "log_system": __name__,
        "log_time": time.time(),
        "lost": lost,
    }


class QueuedOutput(TextIOBase):
    """
    An L{Output} whose lines are written by the thread.

    Twisted looks at the class for whether it takes texts.
    """

    def __init__(self, thread: LogThread, output: Output) -> None:
        super().__init__()
        self._thread = thread
        self._output = output

    def write(self, text: str) -> int:
        # Half a character of somebody's JSON cannot be written as it is.
        text = text.encode("utf-8", "backslashreplace").decode()
        self._thread.put(partial(self._write, text), len(text))
        return len(text)

    def flush(self) -> None:
        """Does nothing: the thread flushes."""

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


@implementer(ILogObserver)
class QueuedObserver:
    """An observer of the operator's, called by the thread."""

    def __init__(self, thread: LogThread, observer: Callable[[LogEvent], object]):
        self._thread = thread
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        self._thread.put(partial(self._observer, event))
