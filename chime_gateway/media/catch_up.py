"""
Whether what waits to be played is late, and by how much.

An agent that is ahead of its listener has a queue by right: it said in a second what
takes ten to hear, and the queue ends with what it says.  A queue is late that came to
be because time passed in which nothing could be played, ours or the network's, and
that stays as it is because the agent speaks no faster than it is heard.  Of such a
queue nobody ever gets rid by playing it.

What is done about it, and what is in the queue, is not known here.
"""

from __future__ import annotations

from typing import Final

#: A queue is looked at in windows of so many beats: longer than the pieces in which
#: an agent sends its speech.
WINDOW_BEATS: Final = 12

#: From one window to the next the least that waits may differ by so many frames in a
#: queue that neither grows nor is played down.
_STEADY_FRAMES: Final = 2

#: So many windows alike say that it stands: two may be alike where a queue that grew
#: begins to be played down.  More of them where what stood was needed again
#: and again.
_LEAST_WINDOWS: Final = 3
_MOST_WINDOWS: Final = 5

#: A queue ran dry for so long because its audio comes unevenly.
_UNEVEN_FRAMES: Final = 2


class CatchUp:
    """
    @ivar behind: frames whose time passed while something was being said, and that
        were not played: no more can be late.
    @ivar has_decided: it was seen whether the queue stands.
    """

    def __init__(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Nothing is late any more."""
        self.behind = 0
        self._needed = _LEAST_WINDOWS
        self._dry = 0
        self.begin()

    def begin(self) -> None:
        """Whether the queue stands is seen from now on."""
        self.has_decided = False
        self._played_down = 0
        self._beats = 0
        self._windows = 0
        self._least = self._floor = 0

    def missed(self, frames: int) -> None:
        """So many were due, and nothing was there or nobody played them."""
        self.behind += frames
        self._dry += frames
        self.begin()

    def overdue(self, waiting: int) -> int:
        """
        On each beat while something waits and is behind.

        @param waiting: frames that were not needed on this beat.
        @return: how many of them are late for good; known at the end of a window.
        """
        if self._dry:
            is_uneven = self._dry <= _UNEVEN_FRAMES
            self._needed = (
                min(_MOST_WINDOWS, self._needed + 1) if is_uneven else _LEAST_WINDOWS
            )
            self._dry = 0
        if not self._beats or waiting < self._least:
            self._least = waiting
        self._beats += 1
        if self._beats < WINDOW_BEATS:
            return 0
        self._beats = 0
        least = self._least
        self._windows += 1
        if self._windows > 1 and abs(least - self._floor) > _STEADY_FRAMES:
            # One that grows may be of an agent that is ahead, or what was held up and
            # comes by and by.  One that is played down is of an agent that is ahead;
            # not at once, as it may have begun to be late within a window.
            self._played_down += least < self._floor
            self.has_decided = self._played_down > 1
            self._windows = 1
        if self._windows == 1 or least < self._floor:
            self._floor = least
        if self._windows < self._needed:
            return 0
        self.has_decided = True
        self._played_down = self._windows = 0
        if not self._floor:
            self.behind = 0  # all that waits is needed on some beat
        return min(self._floor, self.behind)

    def caught_up(self, frames: int) -> None:
        """So many are not late any more."""
        self.behind = max(0, self.behind - frames)
        self.begin()
