"""
Decides whether an agent speaks in real time, or ahead of its listener.

An agent in real time sends no more audio than time has passed, except for the piece
that it sends at once.  After a stall of this process or its connection, the last of
the delayed audio restores that.  An agent that is ahead sends more and more.  So the
lead of the audio over the clock is measured on arrival.  It depends neither on stalls
of this process nor on what is played, except that audio read after a stall may have
arrived earlier, by as much as the stall took.
"""

from __future__ import annotations

from math import inf
from typing import Final

from chime_gateway.audio import PTIME_MS

#: The maximum lead is taken of windows of this length, each with some audio.
_WINDOW_SECONDS: Final = 0.24

#: The length of a window until the agent is settled.  If an agent that is ahead pauses,
#: its lead falls and rises again.  The maximum of a longer window would hide that.
_FIRST_WINDOW_SECONDS: Final = 0.08

#: The agent is steady if the lead differed by no more than this ...
_STEADY_SECONDS: Final = 0.05

#: ... for this long.
_SETTLED_SECONDS: Final = 0.72

#: If the last beat was at most this long ago, the process is not stalled.
_BEAT_SECONDS: Final = PTIME_MS / 1000 + 1e-3

#: A lead that is far lower in two windows, or a little lower in three, has fallen for
#: good.  Once may be chance: after a stall of the connection the last piece may be late
#: itself.  A lead is only a little lower if one late piece explains it.
_FALLEN: Final = 6
_FAR: Final = 3
_NEAR: Final = 2

#: A longer piece is a sentence, sent at once.
_LONGEST_PIECE_SECONDS: Final = 1.0


class Pace:
    """
    The pace of one agent.

    @ivar said: seconds of audio received.
    @ivar beat_at: the time of the last beat of this process.
    @ivar piece: seconds of the longest piece received recently.
    """

    __slots__ = (
        *("_before", "_ends_at", "_fallen", "_free_at", "_is_level", "_late_at"),
        *("_lead", "_level", "_longest", "_lowest", "_settled", "_since", "_windows"),
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
        self._level = self._lowest = -inf
        self._since = self._settled = 0.0
        self._is_level = False
        self._fallen = self._windows = 0

    def late_beat(self, now: float) -> None:
        """Audio that came since the previous beat may be read only after this one."""
        self._free_at = self.beat_at
        self._late_at = now

    def came(self, seconds: float, now: float) -> None:
        """Audio came, in one piece."""
        self.said = said = self.said + seconds
        lead = said - now
        if lead > self._lead:
            self._lead = lead
        if seconds > self._longest:
            self._longest = seconds
        if now >= self._ends_at:
            self._end_window(now)

    def _end_window(self, now: float) -> None:
        level, newest = self._level, self._lead
        is_settled = self.is_settled
        self._is_level = False
        if newest > (level if is_settled else self._lowest) + _STEADY_SECONDS:
            self._rise(now)
        elif newest >= level - _STEADY_SECONDS:
            self._is_level = True
            if not is_settled:
                self._level = max(level, newest)
                self._lowest = min(self._lowest, newest)
            self._fallen = 0
            self._windows += 1
            # A pause may be hidden behind the maximum of the window that it ended.
            if is_settled or self.said - now >= level - 2 * _STEADY_SECONDS:
                self._settled = now - self._since
        else:
            lead = max(newest, self.said - self._read_since(now))
            is_far = lead < level - _STEADY_SECONDS - self.piece
            self._fallen += _FAR if is_far else _NEAR
            if self._fallen >= _FALLEN:
                self._rise(now)
            elif not is_settled and lead < level - _STEADY_SECONDS:
                # The agent has not kept step: it may return to the level from below.
                self._settle_anew(now)
        self._ends_at = now + (_WINDOW_SECONDS if is_settled else _FIRST_WINDOW_SECONDS)
        self._lead = -inf
        longest, self._longest = self._longest, 0.0
        self.piece = min(_LONGEST_PIECE_SECONDS, max(longest, self._before))
        self._before = longest

    def _read_since(self, now: float) -> float:
        """@return: audio that came before this time was read at once."""
        is_late = self._late_at == self.beat_at
        since = self._free_at if is_late else self.beat_at
        return since if now - since > _BEAT_SECONDS else now

    def _rise(self, now: float) -> None:
        self._level = self._lowest = self._lead
        self._fallen = 0
        self._settle_anew(now)

    def _settle_anew(self, now: float) -> None:
        self._since, self._settled, self._windows = now, 0.0, 0

    @property
    def is_settled(self) -> bool:
        """Whether the audio has kept step with the clock for a while."""
        return self._settled >= _SETTLED_SECONDS and self._windows > 2

    @property
    def is_unsure(self) -> bool:
        """
        Whether an agent that was in real time may have changed: the last piece may
        have arrived earlier than it was read, and the next one will tell.
        """
        return not self._is_level and self.is_settled

    @property
    def is_steady(self) -> bool:
        """Whether the audio keeps step with the clock now."""
        return (
            self._is_level
            and self._lead <= self._level + _STEADY_SECONDS
            and self.is_settled
        )
