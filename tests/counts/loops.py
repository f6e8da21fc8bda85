"""
Reactors beside the global one, one for each side, which run only when a test calls
them: all work of a side is done between two lines of the test.

They have real sockets, and a clock that the test advances.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from chime_gateway.net.batch import BatchReader

#: Time limit of waiting, by the real clock.
_PATIENCE_SECONDS = 30.0


class Time:
    """
    A clock that a test advances.

    @ivar seconds: returns the time; like the gateway's clock, not a Python function.
    """

    def __init__(self) -> None:
        self._now = [1000.0]
        self.seconds: Callable[[], float] = partial(self._now.__getitem__, 0)

    def advance(self, seconds: float) -> None:
        self._now[0] += seconds


class Loop(EPollReactor):
    """A reactor that runs one turn at a time."""

    def __init__(self, clock: Time) -> None:
        self._batch_set: select.epoll | None = None
        super().__init__()
        self.seconds = clock.seconds
        self.getThreadPool().start()  # for name look-ups

    def turn(self) -> None:
        """Process all events, and all calls that are due."""
        self.doIteration(0)
        self.runUntilCurrent()

    def wait_for(self, sockets: int) -> None:
        """Wait until that many sockets are readable: loopback has a short delay."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while self._readable() < sockets:
            if time.monotonic() > until:
                raise AssertionError(f"fewer than {sockets} sockets are readable")

    def _readable(self) -> int:
        batch = self._batch()
        ready = {fd for fd, _ in self._poller.poll(0)} - {batch.fileno()}
        if self._batch_set is None:
            self._batch_set = select.epoll.fromfd(os.dup(batch.fileno()))
        return len(ready) + len(self._batch_set.poll(0))

    def _batch(self) -> BatchReader:
        (found,) = (one for one in self.getReaders() if isinstance(one, BatchReader))
        return found

    def close(self) -> None:
        """Cancel the timers, and close the sockets."""
        for call in self.getDelayedCalls():
            call.cancel()
        for reader in self.removeAll():
            reader.connectionLost(Failure(ConnectionDone()))
        pool: Any = self.threadpool
        pool.stop()
        if self._batch_set is not None:
            self._batch_set.close()
        self._poller.close()


def pass_until(
    clock: Time,
    others: Sequence[Loop],
    gateway: Loop,
    is_so: Callable[[], object],
    half: float,
) -> None:
    """
    Advance the time and run all loops, until C{is_so} returns a true value.

    @param half: half a beat, in seconds: the gateway's beats are between those of the
        others.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > until:
            raise AssertionError("the condition was not reached")
        for loops in (others, (gateway,)):
            clock.advance(half)
            for loop in loops:
                loop.turn()
