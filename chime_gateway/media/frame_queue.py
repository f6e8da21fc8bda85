"""
A queue of frames that wait for their beat, which becomes shorter when it is late.

A little lateness is caught up: a frame of a pause is left out, or speech is played
faster, with cuts where they are not heard.  Frames beyond that are dropped.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.splice import is_silence, join, shorten
from chime_gateway.media.catch_up import CatchUp
from chime_gateway.media.pace import Pace

#: So many frames are caught up: in less than a second, half as fast again.
CAUGHT_UP_FRAMES: Final = 15

#: Between cuts: of three frames two are played.
_BEATS_PER_CUT: Final = 3


class FrameQueue:
    """
    @ivar frames: what waits, next first.
    @ivar late: knows what of it is late.
    """

    __slots__ = ("_beats", "_codec", "_excess", "_size", "frames", "late")

    def __init__(self, codec: Codec, pace: Pace) -> None:
        self.frames: deque[bytes] = deque()
        self.late = CatchUp(pace)
        self._codec = codec
        self._size = codec.frame_bytes
        self._excess = 0
        self._beats = 0

    def add(self, audio: bytes) -> None:
        """Append whole frames."""
        size = self._size
        if len(audio) == size:  # as most often, of an agent at pace
            self.frames.append(audio)
            return
        self.frames.extend(audio[at : at + size] for at in range(0, len(audio), size))

    def clear(self) -> None:
        """Drop all frames; nothing is late then."""
        self.frames.clear()
        self._excess = 0
        self.late.settle()

    @property
    def is_decided(self) -> bool:
        """It was seen whether what waits is late, and then it was got rid of."""
        return self.late.has_decided and not self._excess

    def shorten(self, taken: int, due: int, *, is_read: bool) -> int:
        """
        A beat of a queue that is behind, before so many frames are taken.

        @param taken: less than none: so many wait elsewhere, before these.
        @param due: so many beats passed since the last one.
        @param is_read: what came meanwhile is read.
        @return: how many frames were left out.
        """
        frames, excess = self.frames, self._excess
        waiting = max(0, len(frames) - taken - excess)
        late = self.late.overdue(waiting, due, excess, is_read=is_read)
        if not late and not excess:
            return 0
        if not excess:
            self._beats = 0
        self._excess = excess + late
        removed = min(self._shorten(), self._excess)
        if removed:
            self._excess -= removed
            self.late.caught_up(removed)
        if len(frames) <= max(1, taken):
            self._excess = 0  # nothing stands any more
        return removed

    def _shorten(self) -> int:
        frames, codec = self.frames, self._codec
        count = self._excess - CAUGHT_UP_FRAMES
        if count > 0:
            before = frames[0]
            count = min(count, len(frames) - 1)
            for _ in range(count):
                frames.popleft()
            frames[0] = join(codec, before, frames[0])
            return count
        removed = 0
        while (
            removed < self._excess and len(frames) > 1 and is_silence(codec, frames[0])
        ):
            frames.popleft()
            removed += 1
        self._beats += 1
        if removed or self._beats % _BEATS_PER_CUT or len(frames) < 2:
            return removed
        pieces = [frames.popleft() for _ in range(min(3, len(frames)))]
        audio = shorten(codec, b"".join(pieces), self._size)
        for at in range(len(audio) - self._size, -1, -self._size):
            frames.appendleft(audio[at : at + self._size])
        return 1
