"""
Remembers where no packets got through, so that WebRTC is not tried there for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

#: Where nothing got through, nobody waits for that again for so long.
BLOCKED_SECONDS: Final = 600.0

#: A session that has lost its path is one of many: whoever had it has the next one by
#: then, and others are not concerned.
LOST_SECONDS: Final = 10.0

#: Two that lose it within this time are no chance.
TOGETHER_SECONDS: Final = 60.0


class BlockedPlaces:
    """@param seconds: monotonic."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._until: dict[Hashable, float] = {}
        self._lost_at: dict[Hashable, float] = {}

    def is_blocked(self, place: Hashable) -> bool:
        return self._seconds() < self._until.get(place, 0.0)

    def none_found(self, place: Hashable) -> float:
        """
        There was no path to it.

        @return: for how many seconds it is blocked, as in L{lost}.
        """
        return self._block(place, BLOCKED_SECONDS)

    def lost(self, place: Hashable) -> float:
        """A session had a path, and has none any more."""
        now = self._seconds()
        before = self._lost_at.get(place)
        self._lost_at[place] = now
        is_one = before is None or now - before > TOGETHER_SECONDS
        return self._block(place, LOST_SECONDS if is_one else BLOCKED_SECONDS)

    def _block(self, place: Hashable, seconds: float) -> float:
        now = self._seconds()
        until = self._until[place] = max(self._until.get(place, 0.0), now + seconds)
        return until - now
