"""
Threads for calls that may hang, apart from everybody else's.

A call that never returns keeps its thread, and nothing of the reactor's pool.  There are so many at the most; where all of them
hang, the next call is told so at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredSemaphore, fail
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chime_gateway.errors import GatewayError

_Result = TypeVar("_Result")


class NoThreadFree(GatewayError):
    """As many calls hang as may."""


class Threads:
    """
    @param name: of the threads.
    @param most: so many at the same time.
    @param in_reactor: calls a function there, from any thread.
    @ivar busy: calls that have not returned.
    """

    def __init__(self, name: str, most: int, in_reactor: Callable[..., object]) -> None:
        self._name = name
        self._most = most
        self._in_reactor = in_reactor
        self.busy = 0

    def run(
        self, function: Callable[..., _Result], *arguments: Any
    ) -> Deferred[_Result]:
        """
        What C{function} returns or raises.  Whoever cancels waits no more; the call
        itself goes on.

        The Deferred fails with L{NoThreadFree} where there is no room.
        """
        if self.busy >= self._most:
            return fail(NoThreadFree(f"{self.busy} {self._name} threads are busy"))
        done: Deferred[_Result] = Deferred()

        def returned(result: _Result | Failure) -> None:
            self.busy -= 1
            # One that was cancelled takes no notice, once.
            if isinstance(result, Failure):
                done.errback(result)
            else:
                done.callback(result)

        def work() -> None:
            try:
                result: _Result | Failure = function(*arguments)
            except BaseException:
                # It is the caller's, whatever it is.
                result = Failure()
            self._in_reactor(returned, result)

        # A daemon: what hangs must not hold the end of the process.
        thread = threading.Thread(
            target=work, name=f"chimegw-{self._name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as exc:
            return fail(NoThreadFree(f"no thread for {self._name}: {exc}"))
        self.busy += 1
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
        self._threads = Threads(name, most, in_reactor)
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
