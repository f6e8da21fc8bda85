"""A timer that can be restarted, and stopped at any moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVarTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_Arguments = TypeVarTuple("_Arguments")


class Timer:
    """
    At most one delayed call.

    A timer that is not running holds no reference to its owner.  So the owner is freed
    with its last reference, without the garbage collector.
    """

    __slots__ = ("_clock", "_due")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: IDelayedCall | None = None

    @property
    def is_running(self) -> bool:
        """Whether a call is scheduled."""
        return self._due is not None

    def start(
        self,
        seconds: float,
        function: Callable[[*_Arguments], object],
        *arguments: *_Arguments,
    ) -> None:
        """Call C{function} after that time, in place of a call scheduled before."""
        self.stop()
        self._due = self._clock.callLater(seconds, self._fire, function, *arguments)

    def move(self, seconds: float) -> bool:
        """
        Reschedule the call to C{seconds} from now.

        @return: C{False} if no call is scheduled.
        """
        if self._due is None:
            return False
        self._due.reset(seconds)
        return True

    def stop(self) -> None:
        """Cancel the scheduled call, if there is one."""
        due, self._due = self._due, None
        # After a MemoryError the call may be over although _fire never began.
        if due is not None and due.active():
            due.cancel()

    def _fire(
        self, function: Callable[[*_Arguments], object], *arguments: *_Arguments
    ) -> None:
        # Before the call, which may start it again.
        self._due = None
        function(*arguments)
