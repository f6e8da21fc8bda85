"""A timer that can be restarted, and stopped at any moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVarTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_Arguments = TypeVarTuple("_Arguments")


class Timer:
    """
    At most one delayed call.

    A timer at rest holds nothing of who started it, so that an owner goes with
    its last reference and not with the garbage.
    """

    __slots__ = ("_clock", "_due")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: IDelayedCall | None = None

    @property
    def is_running(self) -> bool:
        """Whether a call is due."""
        return self._due is not None

    def start(
        self,
        seconds: float,
        function: Callable[[*_Arguments], object],
        *arguments: *_Arguments,
    ) -> None:
        """Call C{function} then; what was due before is not called any more."""
        self.stop()
        self._due = self._clock.callLater(seconds, self._fire, function, *arguments)

    def move(self, seconds: float) -> bool:
        """
        What is due is due so many seconds from now instead.

        @return: C{False}: nothing is.
        """
        if self._due is None:
            return False
        self._due.reset(seconds)
        return True

    def stop(self) -> None:
        """Nothing is due any more; nothing may have been."""
        due, self._due = self._due, None
        # Out of memory, what was called may not have begun.
        if due is not None and due.active():
            due.cancel()

    def _fire(
        self, function: Callable[[*_Arguments], object], *arguments: *_Arguments
    ) -> None:
        # Before the call, which may start it again.
        self._due = None
        function(*arguments)
