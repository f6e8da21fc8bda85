"""
Measures whether audio that waits to be played is late, and by how much.

An agent that is ahead of its listener rightly has a queue: it said in a second what
takes ten seconds to hear, and the queue ends with what it says.  A queue is late if
it built up while nothing could be played, because this process or the network stood
still, and remains because the agent speaks only as fast as it is heard.  Playing
alone never shortens such a queue.
"""

from __future__ import annotations

from math import inf
from typing import Final

from chime_gateway.audio import PTIME_MS
from chime_gateway.media.pace import Pace

#: A queue is looked at for so many beats before it is said what of it nobody needed.
_LEAST_BEATS: Final = 36

#: Of an agent at pace, a frame or two that came late are made good at once.  Where that
#: was too soon, as the next was late as well, it is looked at twice as long, up to so
#: many beats; where nothing was late for four times as long, but not less than so many
#: seconds, a quarter.
_MOST_BEATS: Final = 60
_LONG_AGO: Final = 4
_LONG_AGO_SECONDS: Final = 0.5

#: Of a process that has no beat in its time, what waits is never known; behind so many
#: in turn what is there at least is believed.
_BLIND_BEATS: Final = 2

#: Behind so many windows with nothing to spare nothing more is to come, but not before
#: so many beats.
_EMPTY_WINDOWS: Final = 3
_EMPTY_BEATS: Final = 12

#: A leg with a buffer that ran dry for so long at most, within what is said, is given
#: what comes at once.
_HICCUP_FRAMES: Final = 2

#: After longer, what comes while it has less than this: so much an agent that speaks
#: as it is heard needs there, whose audio comes up to 20 ms early or late.
_UNEVEN_SECONDS: Final = 3 * PTIME_MS / 1000

#: A queue ran dry for so long because its audio comes unevenly.
_UNEVEN_FRAMES: Final = 2


class CatchUp:
    """
    @ivar behind: frames whose time passed while something was being said, and that
        were not played: no more can be late.
    @ivar has_decided: it is decided whether the queue is late.
    @ivar is_ahead: it is decided that the agent is ahead.
    """

    __slots__ = (
        *("_beats", "_blind", "_dry", "_empty", "_empty_beats", "_known", "_least"),
        *("_most", "_needed", "_pace", "_ran_dry_at", "_said", "_soon"),
        *("behind", "has_decided", "is_ahead"),
    )

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._soon = 1
        self._ran_dry_at = -inf
        self.settle()

    def settle(self) -> None:
        """Nothing is late any more."""
        self.behind = 0
        self._needed = _LEAST_BEATS
        self._dry = self._most = 0
        self._empty = self._empty_beats = 0
        self.begin()

    def begin(self) -> None:
        """What of the queue nobody needs is seen from now on."""
        self.has_decided = self.is_ahead = False
        self._beats = self._blind = 0
        self._least: int | None = None
        self._known: int | None = None
        self._said = self._pace.said

    def ran_dry(self, frames: int) -> None:
        """So many were due, and nothing was there."""
        self.behind += frames
        self._dry += frames
        self.begin()

    def is_behind(self, ahead_seconds: float, dry_frames: int) -> bool:
        """
        Of a leg with a buffer: what comes may all be late, and once it is in that
        buffer it stays.

        @param ahead_seconds: it has so much.
        @param dry_frames: for so many it had nothing until now, within what is said.
        """
        if dry_frames:
            self.ran_dry(dry_frames)
        return ahead_seconds >= _UNEVEN_SECONDS and self.is_far_behind

    @property
    def is_far_behind(self) -> bool:
        return self.behind > _HICCUP_FRAMES

    def stood_still(self, frames: int) -> None:
        """
        So many were due, and we played none of what was there.  As many more will
        wait, of an agent at pace, as soon as they are read.
        """
        self.behind += frames
        self.has_decided = self.is_ahead = False
        self._needed = max(self._needed, _LEAST_BEATS)
        if self._least is not None:
            self._least += frames

    def overdue(self, waiting: int, due: int, left_out: int, *, is_read: bool) -> int:
        """
        On each beat while something waits and is behind.

        @param waiting: frames that were not needed on this beat.
        @param is_read: C{False}: there are more, which came meanwhile.
        @param due: so many beats passed since the last one.
        @param left_out: what was found to be late before, and is there still.
        @return: how many of them are late for good, besides; known at the end of a
            window.
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
            return 0  # before each piece less waits than behind it
        if pace.is_unsure:
            return 0
        beats, self._beats = self._beats, 0
        self._least = self._known = None
        said, self._said = self._said, pace.said
        if said == pace.said:
            # What is played down is not late: the agent is ahead, or has ended.  One
            # that was at pace may be held up.
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
            # The rest was a pause of the agent's, but for what jitter needed.
            most = self._most if self._most > _UNEVEN_FRAMES else 0
            self.behind = min(self.behind, left_out + most)
            self._empty = self._empty_beats = self._most = 0
        return max(0, min(least, self.behind - left_out))

    def _came_unevenly(self) -> int:
        """@return: for how many beats what stands is looked at now."""
        at = self._pace.beat_at
        since, self._ran_dry_at = at - self._ran_dry_at, at
        if since > max(_LONG_AGO_SECONDS, _LONG_AGO * self._soon * PTIME_MS / 1000):
            self._soon = max(1, self._soon // 4)
        else:
            self._soon = min(_MOST_BEATS, self._soon * 2)
        return self._soon

    def caught_up(self, frames: int) -> None:
        """So many are not late any more."""
        self.behind = max(0, self.behind - frames)
