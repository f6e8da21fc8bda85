from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system import threads as threads_module
from chime_gateway.net.system.threads import (
    BEGIN_SECONDS,
    NoThreadFree,
    ThreadQueue,
    Threads,
)


class ThreadsTests(SynchronousTestCase):
    """This test is the reactor: it calls the functions from threads when it decides."""

    def setUp(self) -> None:
        self.handed: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.arrived = threading.Semaphore(0)
        self.released = threading.Event()
        self.addCleanup(self.released.set)
        self.threads = Threads("test", 3, self.in_reactor, Clock())

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

    def test_results_and_exceptions_are_returned(self) -> None:
        good = self.threads.run(lambda x: x + 1, 1)
        self.assertNoResult(good)
        self.turn()
        self.assertEqual(self.successResultOf(good), 2)
        bad = self.threads.run(lambda: 1 // 0)
        self.turn()
        self.failureResultOf(bad, ZeroDivisionError)
        self.assertEqual(self.threads.busy, 0)

    def test_if_all_threads_hang_the_next_call_fails_at_once(self) -> None:
        hanging = [self.threads.run(self.hang) for _ in range(3)]
        self.failureResultOf(self.threads.run(self.hang), NoThreadFree)
        self.released.set()
        for _ in hanging:
            self.turn()
        self.assertEqual([self.successResultOf(d) for d in hanging], ["late"] * 3)
        again = self.threads.run(lambda: "again")
        self.turn()
        self.assertEqual(self.successResultOf(again), "again")

    def test_a_cancelled_call_gets_no_result_and_its_thread_counts(self) -> None:
        waiting = self.threads.run(self.hang)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.threads.busy, 1)
        self.released.set()
        self.turn()
        self.assertEqual(self.threads.busy, 0)


#: What happens to a thread that is started.
FATES = ("refused", "no memory", "works", "raises", "never begins", "begins late")


class FatesTests(SynchronousTestCase):
    """Threads that cannot be started, die before they begin, or begin late."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: list[Callable[[], None]] = []
        self.fate = ""

    def start(self, work: Callable[[], None], arguments: tuple[()]) -> int:
        if self.fate == "refused":
            raise RuntimeError("can't start new thread")
        if self.fate == "no memory":
            raise MemoryError
        self.begun.append(work)
        return 1

    def outcome(self, threads: Threads, fate: str) -> tuple[list[Any], list[str]]:
        """Run one call; return its results, and what it did."""
        did: list[str] = []

        def function() -> str:
            did.append("called")
            if fate == "raises":
                raise ValueError(fate)
            return fate

        self.fate = fate
        came: list[Any] = []
        done = threads.run(function)
        done.addBoth(came.append)
        work = self.begun.pop() if self.begun else None
        if fate in ("works", "raises"):
            assert work is not None
            work()
        elif work is not None:
            self.assertEqual(threads.busy, 1)
            self.clock.advance(BEGIN_SECONDS)
            if fate == "begins late":
                work()
        return came, did

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(FATES), max_size=12))
    def test_each_call_returns_once_and_frees_its_place(self, fates: list[str]) -> None:
        self.patch(_thread, "start_new_thread", self.start)
        threads = Threads("test", 1, lambda f, *a: f(*a), self.clock)
        for fate in fates:
            came, did = self.outcome(threads, fate)
            self.assertEqual(len(came), 1, fate)
            self.assertEqual(threads.busy, 0, fate)
            if fate == "works":
                self.assertEqual(came, ["works"])
            elif fate == "raises":
                came[0].trap(ValueError)
            else:
                came[0].trap(NoThreadFree)
                self.assertEqual(did, [])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_long_call_is_not_given_up(self) -> None:
        self.patch(_thread, "start_new_thread", self.start)
        handed: list[tuple[Callable[..., object], Any]] = []
        threads = Threads("test", 1, lambda f, *a: handed.append((f, a)), self.clock)
        done = threads.run(lambda: "late")
        self.begun.pop()()
        self.clock.advance(100 * BEGIN_SECONDS)
        self.assertNoResult(done)
        function, arguments = handed.pop()
        function(*arguments)
        self.assertEqual(self.successResultOf(done), "late")
        self.assertEqual(threads.busy, 0)


class FewThreads:
    """Replaces L{Threads}: each call takes the given time."""

    def __init__(self, _: str, most: int, clock: Any, __: Any) -> None:
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
    def test_every_call_is_answered_in_time_whatever_hangs(
        self, calls: list[tuple[float, float]]
    ) -> None:
        """
        The duration of each call, and the time until the next one.  If none hangs,
        every call gets its result.
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

            asking: Deferred[Any] = queue.run(seconds)
            return asking.addBoth(answered)

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
