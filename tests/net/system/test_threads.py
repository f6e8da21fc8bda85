from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system.threads import NoThreadFree, Threads


class ThreadsTests(SynchronousTestCase):
    """The reactor is this test: it calls what threads hand over when it says so."""

    def setUp(self) -> None:
        self.handed: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.arrived = threading.Semaphore(0)
        self.released = threading.Event()
        self.addCleanup(self.released.set)
        self.threads = Threads("test", 3, self.in_reactor)

    def in_reactor(self, function: Callable[..., object], *arguments: Any) -> None:
        self.handed.append((function, arguments))
        self.arrived.release()

    def turn(self) -> None:
        self.assertTrue(self.arrived.acquire(timeout=10))
        function, arguments = self.handed.pop(0)
        function(*arguments)

    def hang(self) -> str:
        self.released.wait()
        return "late"

    def test_what_is_returned_or_raised_comes_back(self) -> None:
        good = self.threads.run(lambda x: x + 1, 1)
        self.assertNoResult(good)
        self.turn()
        self.assertEqual(self.successResultOf(good), 2)
        bad = self.threads.run(lambda: 1 // 0)
        self.turn()
        self.failureResultOf(bad, ZeroDivisionError)
        self.assertEqual(self.threads.busy, 0)

    def test_where_all_hang_the_next_is_told_at_once(self) -> None:
        hanging = [self.threads.run(self.hang) for _ in range(3)]
        self.failureResultOf(self.threads.run(self.hang), NoThreadFree)
        self.released.set()
        for _ in hanging:
            self.turn()
        self.assertEqual([self.successResultOf(d) for d in hanging], ["late"] * 3)
        again = self.threads.run(lambda: "again")
        self.turn()
        self.assertEqual(self.successResultOf(again), "again")

    def test_who_waits_no_more_is_told_nothing_and_the_thread_counts(self) -> None:
        waiting = self.threads.run(self.hang)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.threads.busy, 1)
        self.released.set()
        self.turn()
        self.assertEqual(self.threads.busy, 0)

    def test_a_system_that_has_no_thread_is_told_like_none_free(self) -> None:
        def start(thread: object) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", start)
        self.failureResultOf(self.threads.run(self.hang), NoThreadFree)
        self.assertEqual(self.threads.busy, 0)
