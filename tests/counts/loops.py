"""
Reactors beside the global one, each of one side, that run when they are told to: what
one side does is done between two lines of a test.

They have real sockets, and a time that passes when the test says so.
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

#: Of the real clock: what has to happen does within it.
_PATIENCE_SECONDS = 30.0


class Time:
    """
    @ivar seconds: as of the clock that the gateway has, no function of Python's.
    """

    def __init__(self) -> None:
        self._now = [1000.0]
        self.seconds: Callable[[], float] = partial(self._now.__getitem__, 0)

    def advance(self, seconds: float) -> None:
        self._now[0] += seconds


class Loop(EPollReactor):
    """A reactor that nobody runs."""

    def __init__(self, clock: Time) -> None:
        self._batch_set: select.epoll | None = None
        super().__init__()
        self.seconds = clock.seconds
        self.getThreadPool().start()  # addresses are looked up there

    def turn(self) -> None:
        """Do what has come, and what is due by then."""
        self.doIteration(0)
        self.runUntilCurrent()

    def wait_for(self, sockets: int) -> None:
        """
        Until so many have something to read: loopback is quick, and not always at once.
        """
        until = time.monotonic() + _PATIENCE_SECONDS
        while self._readable() < sockets:
            if time.monotonic() > until:
                raise AssertionError(f"not {sockets} sockets have something to read")

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
        """Timers are forgotten, and sockets closed."""
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
    Time passes, and all do what they do, until it is so.

    @param half: seconds: the gateway has its beats between those of the others.
    """
    until = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > until:
            raise AssertionError("it did not come to it")
        for loops in (others, (gateway,)):
            clock.advance(half)
            for loop in loops:
                loop.turn()
