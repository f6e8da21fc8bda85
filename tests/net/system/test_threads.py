from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system import threads as threads_module
from chime_gateway.net.system.threads import NoThreadFree, ThreadQueue, Threads


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


class FewThreads:
    """In the place of L{Threads}: each call takes as long as it says."""

    def __init__(self, _: str, most: int, clock: Any) -> None:
        self.most = most
        self.clock = clock
        self.busy = 0

    def run(self, seconds: float) -> Deferred[str]:
        if self.busy >= self.most:
            return fail(NoThreadFree("all are busy"))
        self.busy += 1
        done: Deferred[str] = Deferred()

        def returned() -> None:
            self.busy -= 1
            done.callback("read")

        self.clock.callLater(seconds, returned)
        return done


class ThreadQueueTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((0.01, 0.5, 4.9, 8.0, 1000.0)),
                st.sampled_from((0.0, 0.1, 1.0, 6.0)),
            ),
            max_size=15,
        )
    )
    def test_whatever_hangs_everybody_is_answered_in_time(
        self, calls: list[tuple[float, float]]
    ) -> None:
        """
        Calls that take so long, and how long after each the next one comes.  Where
        none hangs, each gets what it asked for.
        """
        self.patch(threads_module, "Threads", FewThreads)
        clock: Any = Clock()
        queue: Any = ThreadQueue("test", 3, clock, clock, 5.0)
        waited: list[float] = []
        late = 0

        def asked(seconds: float) -> Deferred[Any]:
            began = clock.seconds()

            def answered(result: Any) -> Any:
                waited.append(clock.seconds() - began)
                return result

            return queue.run(seconds).addBoth(answered)

        asking = []
        for seconds, pause in calls:
            asking.append(asked(seconds))
            clock.pump([0.05] * int(pause / 0.05))
        clock.pump([0.05] * 101)
        self.assertEqual(len(waited), len(calls))
        self.assertLess(max(waited, default=0.0), 5.06)
        for answer in asking:
            answer.addErrback(lambda failure: failure.trap(TimeoutError))
            late += self.successResultOf(answer) != "read"
        if sum(seconds for seconds, _ in calls) < 5.0:
            self.assertEqual(late, 0)
        clock.advance(1000.0)
        again = asked(0.01)
        clock.advance(0.01)
        self.assertEqual(self.successResultOf(again), "read")
