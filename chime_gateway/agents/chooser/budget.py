"""
The budget of one deployment: how much may be used per minute, and how much was used.

The service counts requests (one for each new session) and tokens, and answers 429 above
its limits; a gateway that knows these limits stays below them.  What other clients of
the deployment use is not counted.
"""

from __future__ import annotations

from collections import deque
from math import floor
from typing import Final

#: The period of the service's limits (C{rateLimits} in its catalogue of models).
WINDOW_SECONDS: Final = 60.0

#: Amounts within this time are added up, and leave the window together with the last of
#: them: later than necessary, never sooner.
_GRAIN_SECONDS: Final = 0.1


class _Minute:
    """The amount that was used within the last minute."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sum = 0
        # (when it leaves the window, amount)
        self._kept: deque[tuple[float, int]] = deque()

    def add(self, count: int, now: float) -> None:
        self.used(now)  # forget old amounts, even if nothing else asks
        grain = floor(now / _GRAIN_SECONDS) + 1
        over_at = grain * _GRAIN_SECONDS + WINDOW_SECONDS
        if self._kept and self._kept[-1][0] >= over_at:
            over_at, before = self._kept.pop()
            self._kept.append((over_at, before + count))
        else:
            self._kept.append((over_at, count))
        self._sum += count

    def used(self, now: float) -> int:
        while self._kept and self._kept[0][0] <= now:
            self._sum -= self._kept.popleft()[1]
        return self._sum

    def free_at(self, now: float) -> float:
        """Return when less than the limit is used; C{now}: at once."""
        used = self.used(now)
        if not self.limit or used < self.limit:
            return now
        for over_at, count in self._kept:
            used -= count
            if used < self.limit:
                return over_at
        raise AssertionError("nothing is less than the limit")


class Budget:
    """
    The budget of one deployment.

    @param requests: sessions that may be opened per minute; 0: unlimited.
    @param tokens: tokens that may be used per minute; 0: unlimited.
    """

    def __init__(self, requests: int = 0, tokens: int = 0) -> None:
        self._requests = _Minute(requests)
        self._tokens = _Minute(tokens)

    def change(self, requests: int, tokens: int) -> None:
        """Change the limits; what was used still counts."""
        self._requests.limit = requests
        self._tokens.limit = tokens

    def requested(self, now: float) -> None:
        """Count an attempt to open a session, whatever its result."""
        self._requests.add(1, now)

    def used(self, tokens: int, now: float) -> None:
        """Count the tokens of a response."""
        if tokens > 0:
            self._tokens.add(tokens, now)

    def free_at(self, now: float) -> float:
        """Return when another session may be opened; C{now}: at once."""
        return max(self._requests.free_at(now), self._tokens.free_at(now))

    def is_spent(self, now: float) -> bool:
        return self.free_at(now) > now

    def why(self, now: float) -> str:
        """Return why the budget is spent; empty: it is not."""
        for minute, what in (
            (self._requests, "sessions were opened"),
            (self._tokens, "tokens were used"),
        ):
            if minute.free_at(now) > now:
                return f"{minute.used(now)} of {minute.limit} {what} within a minute"
        return ""

    def counts(self, now: float) -> dict[str, tuple[int, int]]:
        """Return what was used within the last minute, and the limit, by kind."""
        return {
            "requests": (self._requests.used(now), self._requests.limit),
            "tokens": (self._tokens.used(now), self._tokens.limit),
        }
