"""
A queue of frames that wait for their beat, and that is shortened when it is late.

A little lateness is caught up: frames of a pause are left out, or speech is played
faster, with cuts where they are not heard.  Frames beyond that are dropped.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.splice import is_silence, join, shorten
from chime_gateway.media.catch_up import CatchUp
from chime_gateway.media.pace import Pace

#: This many frames are caught up, in less than a second, by playing 1.5 times as fast.
CAUGHT_UP_FRAMES: Final = 15

#: Two of three frames are played.
_BEATS_PER_CUT: Final = 3


class FrameQueue:
    """
    Frames of one call that wait to be played.

    @ivar frames: the frames, next first.
    @ivar late: how many of them are late.
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
        if len(audio) == size:  # the usual case if the agent speaks in real time
            self.frames.append(audio)
            return
        self.frames.extend(audio[at : at + size] for at in range(0, len(audio), size))

    def clear(self) -> None:
        """Drop all frames.  Nothing is late then."""
        self.frames.clear()
        self._excess = 0
        self.late.settle()

    @property
    def is_decided(self) -> bool:
        """Whether it is known what is late, and all of it has been removed."""
        return self.late.has_decided and not self._excess

    def shorten(self, taken: int, due: int, *, is_read: bool) -> int:
        """
        Remove late frames.  Called on each beat of a queue that is behind, before
        frames are taken.

        @param taken: the number of frames about to be taken.  Negative: the number of
            frames that wait elsewhere, before these.
        @param due: beats since the last call.
        @param is_read: all audio that has arrived is in the queue.
        @return: the number of frames removed.
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
            self._excess = 0  # nothing is left to remove
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
