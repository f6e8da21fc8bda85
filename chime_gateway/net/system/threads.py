"""
Threads of their own for calls that may hang.

A call that never returns occupies its own thread, and none of the reactor's pool.
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

#: A thread that has not begun by then never does.
BEGIN_SECONDS = 5.0

_Result = TypeVar("_Result")


class NoThreadFree(GatewayError):
    """As many calls hang as may."""


class Threads:
    """
    @param name: for what, in words.
    @param most: so many at the same time.
    @param in_reactor: calls a function there, from any thread.
    @ivar busy: calls that have not returned.
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
        What C{function} returns or raises.  Whoever cancels waits no more; the call
        itself goes on.

        The Deferred fails with L{NoThreadFree} where there is no room, or no memory
        for a thread to begin.
        """
        if self.busy >= self._most:
            return fail(NoThreadFree(f"{self.busy} {self._name} threads are busy"))
        done: Deferred[_Result] = Deferred()
        # Whoever takes it has the call: its thread, or who gives the thread up.
        claim = threading.Lock()

        def returned(result: _Result | Failure) -> None:
            if timer.active():
                timer.cancel()
            self.busy -= 1
            # One that was cancelled takes no notice, once.
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
                # It is the caller's, whatever it is.
                result = Failure()
            self._in_reactor(returned, result)

        def give_up() -> None:
            if claim.acquire(blocking=False):
                returned(Failure(NoThreadFree(f"a {self._name} thread never began")))

        try:
            # Not Thread.start, which waits until the thread has begun: one that has
            # no memory for that dies first, and the reactor would wait for ever.
            _thread.start_new_thread(work, ())
        except (RuntimeError, MemoryError) as exc:
            return fail(NoThreadFree(f"no thread for {self._name}: {exc}"))
        self.busy += 1
        timer = self._clock.callLater(BEGIN_SECONDS, give_up)
        return done


class ThreadQueue:
    """
    Threads for many calls that are short as a rule: those that find no thread wait
    for one.  Nobody waits for longer than is said here, whatever hangs.

    @param seconds: from being asked to the answer.
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
        As L{Threads.run}; the Deferred fails with the C{TimeoutError} of Python, an
        C{OSError}, where no answer came in time, or where all threads hang.
        """
        running: Deferred[Any] = self._places.run(
            self._threads.run, function, *arguments
        )
        return running.addTimeout(self._seconds, self._clock).addErrback(_too_late)


def _too_late(failure: Failure) -> Failure:
    if failure.check(NoThreadFree, defer.TimeoutError):
        return Failure(TimeoutError(failure.getErrorMessage()))
    return failure
