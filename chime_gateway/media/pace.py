"""
Decides whether an agent speaks in real time, or ahead of its listener.

From an agent at real time, no more audio comes than time has passed, but for the
piece that it says at once; after this process or its connection stood still, the last
of the delayed audio restores that.  From an agent that is ahead, more and more comes.
So the lead of the audio over the clock is measured on arrival: neither stops of this
process nor what it plays change that, except that audio read after a stop may have
arrived earlier, by as much as the stop took.
"""

from __future__ import annotations

from math import inf
from typing import Final

#: The most by which what came leads the clock is looked at in windows of so long, each
#: with something that came.
_WINDOW_SECONDS: Final = 0.24

#: It is steady when that differed by no more than this ...
_STEADY_SECONDS: Final = 0.05

#: ... for so long.
_SETTLED_SECONDS: Final = 0.72

#: One that is lower in two windows has fallen for good: of a link that was held up the
#: last piece may be late itself.  Where only a piece may be late it is so in three.
_FALLEN: Final = 6
_FAR: Final = 3
_NEAR: Final = 2

#: A longer piece is a sentence.
_LONGEST_PIECE_SECONDS: Final = 1.0


class Pace:
    """
    @ivar said: seconds of audio that came.
    @ivar beat_at: when the last beat of this process came.
    @ivar piece: seconds of the longest piece that came recently.
    """

    __slots__ = (
        *("_before", "_ends_at", "_fallen", "_free_at", "_is_level", "_late_at"),
        *("_lead", "_level", "_longest", "_settled", "_since", "_windows"),
        *("beat_at", "piece", "said"),
    )

    def __init__(self) -> None:
        self.said = 0.0
        self.beat_at = self._late_at = 0.0
        self._free_at = 0.0
        self.piece = 0.0
        self._longest = self._before = 0.0
        self._ends_at = 0.0
        self._lead = -inf
        self._level = -inf
        self._since = self._settled = 0.0
        self._is_level = False
        self._fallen = self._windows = 0

    def late_beat(self, now: float) -> None:
        """What came since the one before it may be read only behind it."""
        self._free_at = self.beat_at
        self._late_at = now

    def came(self, seconds: float, now: float) -> None:
        """So much audio, at once."""
        self.said = said = self.said + seconds
        lead = said - now
        if lead > self._lead:
            self._lead = lead
        if seconds > self._longest:
            self._longest = seconds
        if now >= self._ends_at:
            self._end_window(now)

    def _end_window(self, now: float) -> None:
        level = self._level
        self._is_level = False
        if self._lead > level + _STEADY_SECONDS:
            self._rise(now)
        elif self._lead >= level - _STEADY_SECONDS:
            self._is_level = True
            self._fallen = 0
            self._windows += 1
            self._settled = now - self._since
        else:
            lead = max(self._lead, self.said - self._read_since())
            is_far = lead < level - _STEADY_SECONDS - self.piece
            self._fallen += _FAR if is_far else _NEAR
            if self._fallen >= _FALLEN:
                self._rise(now)
        self._ends_at = now + _WINDOW_SECONDS
        self._lead = -inf
        longest, self._longest = self._longest, 0.0
        self.piece = min(_LONGEST_PIECE_SECONDS, max(longest, self._before))
        self._before = longest

    def _read_since(self) -> float:
        """What came before that was read as soon as it came."""
        is_late = self._late_at == self.beat_at
        return self._free_at if is_late else self.beat_at

    def _rise(self, now: float) -> None:
        self._level, self._since = self._lead, now
        self._fallen = self._windows = 0
        self._settled = 0.0

    @property
    def is_settled(self) -> bool:
        """What came in kept step with the clock for a while."""
        return self._settled >= _SETTLED_SECONDS and self._windows > 2

    @property
    def is_unsure(self) -> bool:
        """It was at pace, and what came last may have come earlier: the next tells."""
        return not self._is_level and self.is_settled

    @property
    def is_steady(self) -> bool:
        """It does now."""
        return (
            self._is_level
            and self._lead <= self._level + _STEADY_SECONDS
            and self.is_settled
        )
