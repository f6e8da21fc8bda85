"""
Remembers deployments that no packets reached, so that WebRTC is not tried there for a
while.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

#: How long WebRTC is not tried where no path was found.
BLOCKED_SECONDS: Final = 600.0

#: The same after one session has lost its path: long enough for its call to get the
#: next session, and short, as other calls may not be affected.
LOST_SECONDS: Final = 10.0

#: Two sessions that lose their paths within this time block the place for long.
TOGETHER_SECONDS: Final = 60.0


class BlockedPlaces:
    """
    The blocked places; a place identifies a deployment.

    @param seconds: monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._until: dict[Hashable, float] = {}
        self._lost_at: dict[Hashable, float] = {}

    def is_blocked(self, place: Hashable) -> bool:
        return self._seconds() < self._until.get(place, 0.0)

    def none_found(self, place: Hashable) -> float:
        """
        No path to a place was found.

        @return: for how many seconds it is blocked, as in L{lost}.
        """
        return self._block(place, BLOCKED_SECONDS)

    def lost(self, place: Hashable) -> float:
        """A session has lost its path."""
        now = self._seconds()
        before = self._lost_at.get(place)
        self._lost_at[place] = now
        is_one = before is None or now - before > TOGETHER_SECONDS
        return self._block(place, LOST_SECONDS if is_one else BLOCKED_SECONDS)

    def _block(self, place: Hashable, seconds: float) -> float:
        now = self._seconds()
        until = self._until[place] = max(self._until.get(place, 0.0), now + seconds)
        return until - now
