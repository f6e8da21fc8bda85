"""A turn of a real reactor, with the batch before it."""

from __future__ import annotations

import os
import select
import socket
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net import batch as module
from chime_gateway.net.batch import BatchReader

#: That what has come is not seen shows in as long.
_WAIT_SECONDS = 2.0

#: What may happen between two turns.
_EVENTS = ("other", "media", "other", "thread", "timer", "adopt", "release", "greedy")


class _Reactor(EPollReactor):
    """
    One that nobody runs.

    @ivar looked: how often its own sockets have been looked at.
    """

    def __init__(self) -> None:
        super().__init__()
        self.added = 0.0
        self.looked = 0
        self.seconds = self._seconds

    def _seconds(self) -> float:
        return EPollReactor.seconds() + self.added

    def doPoll(self, timeout: float) -> None:
        self.looked += 1
        super().doPoll(timeout)

    doIteration = doPoll

    def turn(self) -> None:
        """As its main loop."""
        self.runUntilCurrent()
        wait = self.timeout()
        self.doIteration(_WAIT_SECONDS if wait is None else min(wait, _WAIT_SECONDS))
        self.runUntilCurrent()

    def close(self) -> None:
        if self._poller.closed:
            return
        for call in self.getDelayedCalls():
            call.cancel()
        for reader in self.removeAll():
            reader.connectionLost(Failure(CONNECTION_LOST))
        for reader in list(self._internalReaders):
            reader.connectionLost(Failure(CONNECTION_LOST))
        self._internalReaders.clear()
        self._poller.close()


class _Socket:
    """
    Read by the batch, or by the reactor.

    @ivar is_greedy: there is always more, and reading takes long.
    """

    connected = True
    disconnecting = False
    is_greedy = False

    def __init__(self, reactor: _Reactor) -> None:
        self.reactor = reactor
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.setblocking(False)
        self.heard = b""

    def fileno(self) -> int:
        return self.near.fileno()

    def logPrefix(self) -> str:
        return "one"

    def doRead(self) -> Exception | None:
        if self.is_greedy:
            self.reactor.added += 2 * module._MAX_SECONDS
            self.heard += b"?"
        else:
            self.heard += self.near.recv(100)
        return None

    def connectionLost(self, reason: Failure) -> None:
        self.connected = False

    def close(self) -> None:
        self.near.close()
        self.far.close()


class TurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.addCleanup(lambda: self.reactor.close())

    def new(self, batch: BatchReader | None = None) -> _Socket:
        made = _Socket(self.reactor)
        self.addCleanup(made.close)
        if batch is not None:
            batch.adopt(made)
        return made

    def assert_served(self, is_so: Any, what: str) -> None:
        self.reactor.turn()
        self.assertTrue(is_so(), f"{what} is not served")

    @settings(max_examples=80, deadline=None)
    @given(
        st.booleans(),
        st.integers(0, 3),
        st.lists(
            st.tuples(st.sampled_from(_EVENTS), st.integers(0, 9)),
            min_size=1,
            max_size=12,
        ),
    )
    def test_whatever_has_come_is_served_within_the_turn(
        self, is_behind_another: bool, greedy: int, events: list[tuple[str, int]]
    ) -> None:
        """However many media sockets there are, and however long they take."""
        self.reactor.close()
        self.reactor = _Reactor()  # a new one for each example
        try:
            self.check(is_behind_another, greedy, events)
        finally:
            self.reactor.close()

    def check(
        self, is_behind_another: bool, greedy: int, events: list[tuple[str, int]]
    ) -> None:
        another = BatchReader(self.reactor)
        if is_behind_another:
            self.new(another)
        batch = BatchReader(self.reactor)
        other = self.new()
        self.reactor.addReader(other)
        media = [self.new(batch) for _ in range(greedy)]
        for one in media:
            self.make_greedy(one)
        for event, which in events:
            called: list[int] = []
            if event == "adopt":
                media.append(self.new(batch))
            elif event == "timer":
                self.reactor.callLater(0.001, called.append, which)
                # A turn that begins with what the last one had left does not wait.
                until = time.monotonic() + _WAIT_SECONDS
                while not called and time.monotonic() < until:
                    self.reactor.turn()
                self.assertTrue(called)
            elif event == "thread":
                self.reactor.callFromThread(called.append, which)
                self.assert_served(called.copy, event)
            elif event == "other":
                self.serve(other)
            elif media:
                one = media[which % len(media)]
                if event == "release":
                    media.remove(one)
                    batch.release(one)
                    one.near.close()
                elif event == "greedy":
                    self.make_greedy(one)
                elif not one.is_greedy:
                    self.serve_at_last(one, len(media))
        for reader in self.reactor.removeAll():
            reader.connectionLost(Failure(CONNECTION_LOST))
        self.assertFalse([one for one in media if one.connected])
        self.assertEqual((batch.fileno(), another.fileno()), (-1, -1))
        self.assertNotIn("doIteration", vars(self.reactor))

    def make_greedy(self, one: _Socket) -> None:
        one.is_greedy = True
        one.far.send(b"x")

    def serve(self, one: _Socket) -> None:
        had = len(one.heard)
        one.far.send(b"x")
        self.assert_served(lambda: len(one.heard) > had, "a socket")

    def serve_at_last(self, one: _Socket, beside: int) -> None:
        """Each of those beside it may take a turn of its own."""
        had = len(one.heard)
        one.far.send(b"x")
        for _ in range(3 * beside):
            if len(one.heard) == had:
                self.reactor.turn()
        self.assertGreater(len(one.heard), had)

    def test_where_only_frames_come_the_reactor_looks_at_nothing(self) -> None:
        batch = BatchReader(self.reactor)
        media = [self.new(batch) for _ in range(3)]
        for _ in range(10):
            for one in media:
                one.far.send(b"x")
            self.reactor.turn()
        self.assertEqual([len(one.heard) for one in media], [10] * 3)
        self.assertEqual(self.reactor.looked, 0)

    def test_what_begins_in_vain_leaves_nothing(self) -> None:
        """The next socket is read by the batch all the same."""
        batch = BatchReader(self.reactor)
        one = self.new()
        places: list[tuple[Any, str]] = [
            (select, "epoll"),
            (os, "eventfd"),
            (self.reactor, "addReader"),
        ]
        for where, name in places:
            for error in (OSError, MemoryError):

                def fail(*_: Any, error: type[Exception] = error) -> None:
                    raise error

                held = len(os.listdir("/proc/self/fd"))
                patched = self.patch(where, name, fail)
                self.assertRaises(error, batch.adopt, one)
                patched.restore()
                self.assertEqual(batch.fileno(), -1)
                self.assertEqual(len(os.listdir("/proc/self/fd")), held)
                self.assertNotIn("doIteration", vars(self.reactor))
        batch.adopt(one)
        self.serve(one)
        batch.release(one)
