"""
Limits the time that HTTP takes in one turn of the reactor.

Media is read and sent once a turn, so turns must be short, however many connections
have sent something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from chime_gateway.net.timer import Timer

#: The number of pieces of requests, over all connections, that are handled in a turn;
#: each usually takes some tenths of a millisecond.
MOST: Final = 8

#: Some take longer: after this many seconds the remaining pieces wait.
MOST_SECONDS: Final = 0.004


class Turns:
    """
    Admits a limited number of pieces of work per turn; the rest waits in a queue.
    """

    def __init__(self, clock: IReactorTime, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._taken = 0
        self._over_at = 0.0
        self._waiting: deque[Callable[[], None]] = deque()
        self._next = Timer(clock)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self) -> bool:
        """
        @return: whether the work may be done now; if not, queue it with L{wait}.
        """
        if self._waiting or self._taken >= self._most:
            return False
        if not self._taken:
            self._over_at = self._clock.seconds() + MOST_SECONDS
        elif self._clock.seconds() >= self._over_at:
            return False
        self._taken += 1
        self._begin()
        return True

    def wait(self, work: Callable[[], None]) -> None:
        """Queue a piece of work for a later turn."""
        self._waiting.append(work)
        self._begin()

    def _begin(self) -> None:
        if not self._next.is_running:
            self._next.start(0, self._turn)

    def _turn(self) -> None:
        self._taken = min(self._most, len(self._waiting))
        self._over_at = self._clock.seconds() + MOST_SECONDS
        if self._taken:
            # Before the work, so that a failing piece does not stop the queue.
            self._begin()
        for _ in range(self._taken):
            self._waiting.popleft()()
            if self._clock.seconds() >= self._over_at:
                break
