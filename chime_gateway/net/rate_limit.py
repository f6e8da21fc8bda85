"""
Limits how often something happens per second.

L{TokenBucket} refuses what exceeds the rate; L{Quota} makes it wait.
"""

from __future__ import annotations

from collections import deque

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chime_gateway.net.timer import Timer


@define
class TokenBucket:
    """
    A token bucket.

    @ivar rate: tokens per second.
    @ivar burst: maximum number of tokens.
    """

    rate: float
    burst: float
    _tokens: float = -1.0
    _at: float = 0.0

    def take(self, now: float, tokens: int = 1) -> bool:
        """Take tokens; return whether there were enough."""
        if self._tokens < 0:
            self._tokens, self._at = self.burst, now
        passed = max(0.0, now - self._at)
        self._tokens = min(self.burst, self._tokens + passed * self.rate)
        self._at = now
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True


class Quota:
    """
    Keeps to a rate limit that a service enforces; urgent requests go first.

    @param burst: number of turns that may be taken at once.
    """

    def __init__(self, rate: float, burst: float, clock: IReactorTime) -> None:
        self._bucket = TokenBucket(rate, burst)
        self._clock = clock
        self._urgent: deque[Deferred[None]] = deque()
        self._others: deque[Deferred[None]] = deque()
        self._next = Timer(clock)

    @property
    def waiting(self) -> int:
        return len(self._urgent) + len(self._others)

    def turn(self, *, urgent: bool = False) -> Deferred[None]:
        """Wait for a turn.  Cancelling the Deferred gives up the place in the queue."""
        line = self._urgent if urgent else self._others
        waiting: Deferred[None] = Deferred(line.remove)
        line.append(waiting)
        self._serve()
        return waiting

    def stop(self) -> None:
        """Cancel all that wait."""
        for line in (self._urgent, self._others):
            for waiting in tuple(line):
                waiting.cancel()
        self._next.stop()

    def _serve(self) -> None:
        if self._next.is_running:
            return
        while self.waiting:
            if not self._bucket.take(self._clock.seconds()):
                # Half a turn limits the delay, without a busy loop.
                pause = 0.5 / self._bucket.rate
                self._next.start(pause, self._serve)
                return
            (self._urgent or self._others).popleft().callback(None)
