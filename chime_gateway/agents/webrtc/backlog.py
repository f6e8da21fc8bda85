"""
Holds the caller's audio that was not sent to the service yet, and shortens it.

The caller speaks in real time and audio is sent in real time, so a backlog does not
shrink by sending alone.  Pauses are left out; if there are none, the backlog is played
at double speed.  After this process stood still, only as much audio is kept as can be
caught up within two seconds.

Time is counted in beats of 20 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.splice import join, shorten

#: Maximum number of waiting frames: 12 seconds.
_MOST_WAITING: Final = 600

#: With at least this many frames waiting, a pause is cut down to the second number.
_LONG_QUEUE: Final = 4
_KEPT_PAUSE: Final = 12

#: The length of a pause, in frames, while an excess is being reduced.
_SHORT_PAUSE: Final = 3

#: Frames that were waiting during all of these beats are excess.  Audio has to have
#: arrived on at least the second number of them; audio that comes seldom, and in larger
#: pieces, is observed for longer.
_WINDOW_BEATS: Final = 20
_WINDOW_HEARD: Final = 4

#: Maximum excess that is reduced by playing faster, one frame on each beat; beyond it,
#: frames that wait because this process stood still are dropped.
_CAUGHT_UP_FRAMES: Final = 60


class Backlog:
    """
    The backlog of one session.

    @param is_loud: returns whether there is speech in a frame.
    @param dropped: called with the reason and the size of audio that is not sent.
    """

    __slots__ = (
        *("_beats", "_codec", "_dropped", "_excess", "_has_come", "_heard", "_is_loud"),
        *("_least", "_pause", "_silence", "_size", "_stood", "frames"),
    )

    def __init__(
        self,
        codec: Codec,
        is_loud: Callable[[bytes], bool],
        dropped: Callable[[str, int], None],
    ) -> None:
        self.frames: deque[bytes] = deque()
        self._codec = codec
        self._size = codec.frame_bytes
        self._silence = codec.silence(codec.frame_bytes)
        self._is_loud = is_loud
        self._dropped = dropped
        self._pause = 0
        self._excess = self._stood = 0
        self._has_come = False
        self._begin()

    def _begin(self) -> None:
        self._beats = self._heard = 0
        self._least = _MOST_WAITING

    def add(self, frame: bytes) -> None:
        self.frames.append(frame)
        if len(self.frames) > _MOST_WAITING:
            self._dropped("agent_slow", len(self.frames.popleft()))

    def came(self) -> None:
        """Audio of the caller has arrived, whether it has to wait or not."""
        self._has_come = True

    def stood_still(self, frames: int) -> None:
        """This process stood still for so many frames, so as many may wait."""
        self._stood = min(_MOST_WAITING, self._stood + frames)
        self._excess = 0  # measured again
        self._begin()

    def take(self) -> bytes | None:
        """
        Remove and return the next frame to send.  There must be L{frames}.

        @return: C{None}: the frame is left out.
        """
        frames = self.frames
        frame = frames.popleft()
        if self._is_left_out(frame):
            if self._excess:
                self._excess -= 1
            return None
        if not self._excess or not frames or not self._is_loud(frames[0]):
            return frame
        self._excess -= 1
        self._dropped("overdue", self._size)
        return shorten(self._codec, frame + frames.popleft(), self._size)

    def _is_left_out(self, frame: bytes) -> bool:
        """Return whether the frame can be left out, as part of a long pause."""
        if self._is_loud(frame):
            self._pause = 0
            return False
        self._pause += 1
        kept = _SHORT_PAUSE if self._excess else _KEPT_PAUSE
        if len(self.frames) < _LONG_QUEUE or self._pause <= kept:
            return False
        if frame != self._silence:
            self._dropped("overdue", len(frame))
        return True

    def beat(self) -> None:
        """Measure the excess: called on each beat, after its frames were taken."""
        waiting = len(self.frames)
        if self._excess:
            if waiting < _LONG_QUEUE:
                self._excess = 0
                self._begin()
            return
        self._heard += self._has_come
        self._has_come = False
        self._beats += 1
        if waiting < self._least:
            self._least = waiting
        if self._beats < _WINDOW_BEATS or self._heard < _WINDOW_HEARD:
            return
        if self._least >= _LONG_QUEUE:
            self._excess = self._least
            self._drop(min(self._stood, self._excess - _CAUGHT_UP_FRAMES))
        self._stood = 0
        self._begin()

    def _drop(self, count: int) -> None:
        """Drop frames at once, without a click."""
        if count <= 0:
            return
        frames = self.frames
        before = frames[0]
        for _ in range(count):
            frames.popleft()
        frames[0] = join(self._codec, before, frames[0])
        self._excess -= count
        self._dropped("overdue", count * self._size)
