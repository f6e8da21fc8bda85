"""Keeps the audio that comes before a stream's C{start} message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chime_gateway.audio import PTIME_MS

#: Some carriers send audio just before C{start}.  Audio older than this is stale.
EARLY_SECONDS: Final = 0.2


class EarlyAudio:
    """
    The early audio of one stream.

    @param clock: seconds, monotonic.
    @ivar dropped: the number of bytes dropped, because they were stale or too many.
    """

    __slots__ = ("_clock", "_kept", "dropped")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: list[tuple[float, bytes]] = []  # at most ten
        self.dropped = 0

    def keep(self, audio: bytes) -> None:
        now, kept = self._clock(), self._kept
        kept.append((now, audio))
        while now - kept[0][0] > EARLY_SECONDS or (
            len(kept) > EARLY_SECONDS * 1000 / PTIME_MS
        ):
            self.dropped += len(kept.pop(0)[1])

    def take(self) -> list[bytes]:
        """Take all audio that was kept."""
        kept = [audio for _, audio in self._kept]
        self._kept.clear()
        return kept
