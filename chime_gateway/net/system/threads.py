"""
Separate threads for function calls that may hang.

A call that never returns blocks its own thread, and none of the reactor's pool.
The number of threads is limited; when all of them hang, the next call fails at once.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredSemaphore, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chime_gateway.errors import GatewayError

#: A thread that has not begun by then is given up.
BEGIN_SECONDS = 5.0

_Result = TypeVar("_Result")


class NoThreadFree(GatewayError):
    """No thread is free, or none could be started."""


class Threads:
    """
    A limited number of threads.

    @param name: what they are for, in messages.
    @param most: maximum number of threads.
    @param in_reactor: calls a function in the reactor's thread, from any thread.
    @ivar busy: number of calls that have not returned.
    """

    def __init__(
        self,
        name: str,
        most: int,
        in_reactor: Callable[..., object],
        clock: IReactorTime,
    ) -> None:
        self._name = name
        self._most = most
        self._in_reactor = in_reactor
        self._clock = clock
        self.busy = 0

    def run(
        self, function: Callable[..., _Result], *arguments: Any
    ) -> Deferred[_Result]:
        """
        Call C{function} in a thread.  The Deferred fires with its result or its
        exception.  Cancelling it does not stop the call.

        The Deferred fails with L{NoThreadFree} if all threads are busy, or if there is
        no memory for a thread to begin.
        """
        if self.busy >= self._most:
            return fail(NoThreadFree(f"{self.busy} {self._name} threads are busy"))
        done: Deferred[_Result] = Deferred()
        # Taken by the thread when it begins, or by give_up: only one of them.
        claim = threading.Lock()

        def returned(result: _Result | Failure) -> None:
            if timer.active():
                timer.cancel()
            self.busy -= 1
            # A Deferred that was cancelled ignores its first result.
            if isinstance(result, Failure):
                done.errback(result)
            else:
                done.callback(result)

        def work() -> None:
            if not claim.acquire(blocking=False):
                return
            try:
                result: _Result | Failure = function(*arguments)
            except BaseException:
                # The caller gets any exception.
                result = Failure()
            self._in_reactor(returned, result)

        def give_up() -> None:
            if claim.acquire(blocking=False):
                returned(Failure(NoThreadFree(f"a {self._name} thread never began")))

        try:
            # Thread.start would wait until the thread has begun.  A thread that has no
            # memory for that dies before, and the reactor would wait for ever.
            _thread.start_new_thread(work, ())
        except (RuntimeError, MemoryError) as exc:
            return fail(NoThreadFree(f"no thread for {self._name}: {exc}"))
        self.busy += 1
        timer = self._clock.callLater(BEGIN_SECONDS, give_up)
        return done


class ThreadQueue:
    """
    Threads for many calls that are usually short: a call that finds no free thread
    waits for one.  The waiting time is limited, even if all threads hang.

    @param seconds: time limit from the request to the result.
    """

    def __init__(
        self,
        name: str,
        most: int,
        in_reactor: Callable[..., object],
        clock: IReactorTime,
        seconds: float,
    ) -> None:
        self._threads = Threads(name, most, in_reactor, clock)
        self._places = DeferredSemaphore(most)
        self._clock = clock
        self._seconds = seconds

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """
        Do the same as L{Threads.run}.  The Deferred fails with Python's
        C{TimeoutError}, an C{OSError}, if there is no result in time, or if all threads
        hang.
        """
        running: Deferred[Any] = self._places.run(
            self._threads.run, function, *arguments
        )
        return running.addTimeout(self._seconds, self._clock).addErrback(_too_late)


def _too_late(failure: Failure) -> Failure:
    if failure.check(NoThreadFree, defer.TimeoutError):
        return Failure(TimeoutError(failure.getErrorMessage()))
    return failure
