"""
Measures whether queued audio is late, and by how much.

An agent that is ahead of its listener rightly has a queue: it said in a second what
takes ten seconds to hear, and the queue drains when it has finished.  A queue is late
if it built up while nothing could be played, because this process or the network
stalled, and remains because the agent speaks only in real time.  Playing alone never
shortens such a queue.
"""

from __future__ import annotations

from math import inf
from typing import Final

from chime_gateway.audio import PTIME_MS
from chime_gateway.media.pace import Pace

#: The queue is observed for this many beats before it is decided how many of its frames
#: were not needed.
_LEAST_BEATS: Final = 36

#: If an agent that speaks in real time is late by a frame or two, that is caught up at
#: once.  If this was too soon, because the next frame was late as well, the window is
#: doubled, up to this many beats.  If nothing was late for this many windows, and at
#: least for this many seconds, the window is divided by four.
_MAX_UNEVEN_BEATS: Final = 60
_EVEN_WINDOWS: Final = 4
_EVEN_SECONDS: Final = 0.5

#: A process whose every beat is late never knows all that waits.  After this many such
#: beats in a row, the frames that it has read are taken as the minimum.
_BLIND_BEATS: Final = 2

#: After this many windows with nothing to spare, no more late audio is expected, but
#: not before this many beats.
_EMPTY_WINDOWS: Final = 3
_EMPTY_BEATS: Final = 12

#: A leg with a buffer that ran dry within an item for at most this long is given new
#: audio at once.
_HICCUP_FRAMES: Final = 2

#: After a longer gap, it is given audio at once only while its buffer holds less than
#: this.  An agent in real time needs that much, as its audio comes up to 20 ms early or
#: late.
_UNEVEN_SECONDS: Final = 3 * PTIME_MS / 1000

#: A queue that ran dry for at most this long did so because its audio comes unevenly.
_UNEVEN_FRAMES: Final = 2


class CatchUp:
    """
    The lateness of one queue.

    @ivar behind: frames that became due within an item and were not played.  No more
        than these can be late.
    @ivar has_decided: whether the queue is late has been decided.
    @ivar is_ahead: the decision was that the agent is ahead.
    """

    __slots__ = (
        *("_beats", "_blind", "_dry", "_empty", "_empty_beats", "_known", "_least"),
        *("_most", "_needed", "_pace", "_ran_dry_at", "_said", "_uneven_beats"),
        *("behind", "has_decided", "is_ahead"),
    )

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._uneven_beats = 1
        self._ran_dry_at = -inf
        self.settle()

    def settle(self) -> None:
        """Start anew: nothing is late."""
        self.behind = 0
        self._needed = _LEAST_BEATS
        self._dry = self._most = 0
        self._empty = self._empty_beats = 0
        self.begin()

    def begin(self) -> None:
        """Begin a new window of observation."""
        self.has_decided = self.is_ahead = False
        self._beats = self._blind = 0
        self._least: int | None = None
        self._known: int | None = None
        self._said = self._pace.said

    def ran_dry(self, frames: int) -> None:
        """Frames were due, and the queue was empty."""
        self.behind += frames
        self._dry += frames
        self.begin()

    def is_behind(self, ahead_seconds: float, dry_frames: int) -> bool:
        """
        Return whether new audio for a leg with a buffer may be late as a whole.  Once
        it is in that buffer it cannot be shortened.

        @param ahead_seconds: audio in the leg's buffer.
        @param dry_frames: for how many frames the buffer was empty within an item,
            since the last call.
        """
        if dry_frames:
            self.ran_dry(dry_frames)
        return ahead_seconds >= _UNEVEN_SECONDS and self.is_far_behind

    @property
    def is_far_behind(self) -> bool:
        return self.behind > _HICCUP_FRAMES

    def stalled(self, frames: int) -> None:
        """
        Frames were due, and this process stalled and played none.  If the agent speaks
        in real time, as many more will wait as soon as they are read.
        """
        self.behind += frames
        self.has_decided = self.is_ahead = False
        self._needed = max(self._needed, _LEAST_BEATS)
        if self._least is not None:
            self._least += frames

    def overdue(self, waiting: int, due: int, left_out: int, *, is_read: bool) -> int:
        """
        Called on each beat while frames wait and the queue is behind.

        @param waiting: frames that were not needed on this beat.
        @param due: beats since the last call.
        @param left_out: frames that were found to be late before and still wait.
        @param is_read: C{False}: more frames have arrived and are not read yet.
        @return: how many more frames are late for good; 0 until the end of a window.
        """
        if self._dry:
            is_uneven = self._dry <= _UNEVEN_FRAMES
            self._needed = self._came_unevenly() if is_uneven else _LEAST_BEATS
            self._dry = 0
        self._beats += due
        least = self._least
        if is_read:
            self._blind = 0
            if least is None or waiting < least:
                self._least = least = waiting
        else:
            self._blind += 1
            known = self._known
            if known is None or waiting < known:
                self._known = known = waiting
            if self._blind < _BLIND_BEATS:
                return 0
            least = known if least is None else min(least, known)
        if waiting > self._most:
            self._most = waiting
        pace = self._pace
        if self._beats < self._needed:
            return 0
        if self._beats < _LEAST_BEATS and not pace.is_steady:
            return 0
        if self._beats * PTIME_MS < pace.piece * 1000 + 2 * PTIME_MS:
            return 0  # less waits before a piece than after it
        if pace.is_unsure:
            return 0
        beats, self._beats = self._beats, 0
        self._least = self._known = None
        said, self._said = self._said, pace.said
        if said == pace.said:
            # A queue that only shrinks is not late: the agent is ahead, or has
            # finished.  An agent that spoke in real time may be delayed.
            self.is_ahead = not pace.is_settled
            self.has_decided = self.has_decided or self.is_ahead
            return 0
        if not pace.is_steady:
            return 0
        self.has_decided = True
        if least > 0:
            self._empty = self._empty_beats = 0
        else:
            self._empty += 1
            self._empty_beats += beats
        if self._empty >= _EMPTY_WINDOWS and self._empty_beats >= _EMPTY_BEATS:
            # The rest was a pause of the agent, except for what jitter needed.
            most = self._most if self._most > _UNEVEN_FRAMES else 0
            self.behind = min(self.behind, left_out + most)
            self._empty = self._empty_beats = self._most = 0
        return max(0, min(least, self.behind - left_out))

    def _came_unevenly(self) -> int:
        """@return: the length of the next window, in beats."""
        at = self._pace.beat_at
        since, self._ran_dry_at = at - self._ran_dry_at, at
        window_seconds = self._uneven_beats * PTIME_MS / 1000
        if since > max(_EVEN_SECONDS, _EVEN_WINDOWS * window_seconds):
            self._uneven_beats = max(1, self._uneven_beats // 4)
        else:
            self._uneven_beats = min(_MAX_UNEVEN_BEATS, self._uneven_beats * 2)
        return self._uneven_beats

    def caught_up(self, frames: int) -> None:
        """Late frames have been left out or shortened."""
        self.behind = max(0, self.behind - frames)
