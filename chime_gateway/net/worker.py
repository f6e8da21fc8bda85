"""
One thread for one kind of blocking work: files, a database.

The reactor offers jobs and never waits.  A job is refused when the queue is full, so
a slow disk does not fill the memory.  A bug in a job loses that job, not the thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.logger import Logger

_Job = TypeVar("_Job")

#: Pause before a thread tries again, after it had no memory to wait on its lock.
NO_MEMORY_SECONDS = 0.2


class WorkerThread(Generic[_Job]):
    """
    @param name: name in the log and in metrics.
    @param work: does the offered jobs in order: one job, or up to C{batch} of them;
        called with none when C{wait_seconds} have passed.  An exception that leaves
        it loses the whole batch, so a function that takes several jobs calls
        L{note_bug} for the one that failed.
    @param max_jobs: maximum number of waiting jobs.
    @param max_bytes: maximum size of all waiting jobs, as given to L{offer}.
    @param wait_seconds: returns how long to wait for a job before C{work} is called
        without one; C{None}: for ever.
    @param last: called once at the end, after all jobs.
    @ivar bugs: number of exceptions that jobs have raised.
    @ivar refused: number of jobs refused because the queue was full.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        work: Callable[[list[_Job]], None],
        *,
        max_jobs: int,
        max_bytes: int | None = None,
        batch: int = 1,
        wait_seconds: Callable[[], float] | None = None,
        last: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.bugs = 0
        self.refused = 0
        self._work = work
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._batch = batch
        self._wait_seconds = wait_seconds
        self._last = last
        self._jobs: deque[tuple[_Job, int]] = deque()
        self._bytes = 0
        self._is_stopping = False
        self._changed = threading.Condition(threading.Lock())
        self._thread = threading.Thread(
            target=self._run, name=f"chimegw-{name}", daemon=True
        )

    # -- from the reactor --------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def offer(self, job: _Job, size: int = 0) -> bool:
        """
        Queue a job; returns at once.  Jobs may be offered before the start.

        @param size: bytes of memory that the job holds; a job of 0 bytes is refused
            only when there are too many jobs.
        @return: whether the job was accepted.
        """
        with self._changed:
            is_full = len(self._jobs) >= self._max_jobs or (
                size > 0
                and self._max_bytes is not None
                and self._bytes + size > self._max_bytes
            )
            if is_full or self._is_stopping:
                self.refused += 1
                return False
            self._jobs.append((job, size))
            self._bytes += size
            self._changed.notify()
            return True

    def stop(self, seconds: float) -> bool:
        """
        Finish the queued jobs and end; call it in a thread of the pool, as it blocks.

        @param seconds: maximum time to wait.
        @return: whether all jobs were done.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread.ident is None:
            return not self._jobs
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Number of jobs that have not been started."""
        return len(self._jobs)

    # -- in the thread -----------------------------------------------------------

    def note_bug(self) -> None:
        """Log and count the exception that is being handled."""
        self.bugs += 1
        self._log.failure("a bug in the thread {name}; it goes on", name=self.name)

    def _run(self) -> None:
        while True:
            try:
                jobs = self._next()
            except MemoryError:
                # Waiting takes a lock of its own, for which there may be no memory.
                time.sleep(NO_MEMORY_SECONDS)
                continue
            if jobs is None:
                break
            self._guarded(self._work, jobs)
        self._guarded(self._last)

    def _guarded(self, do: Callable[..., None], *arguments: object) -> None:
        try:
            do(*arguments)
        except Exception:
            # Any exception: the jobs behind it are not affected.  Out of memory, even
            # logging may fail.
            with contextlib.suppress(Exception):
                self.note_bug()

    def _next(self) -> list[_Job] | None:
        """Return the next jobs, or C{None} at the end."""
        seconds = None if self._wait_seconds is None else self._wait_seconds()
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_stopping, seconds)
            if not self._jobs and self._is_stopping:
                return None
            found: list[_Job] = []
            while self._jobs and len(found) < self._batch:
                job, size = self._jobs.popleft()
                self._bytes -= size
                found.append(job)
            return found
