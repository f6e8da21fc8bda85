"""
Tells how much of what was handed to a leg the caller has heard.

Positions are bytes since the start of the call.  What happens at the far end of a leg
can only be inferred: from the clock, and from marks where the carrier has a playout
buffer of its own and returns them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from chime_gateway.audio import PTIME_MS

#: A mark that returns this much before its audio can have been played was not
#: bound to playout (some carriers return marks at once); it proves nothing.
_UNTRUE_MARK_SECONDS: Final = 0.06

#: A carrier known to return marks that is this late with one has stalled, and
#: its position is taken to be that of the mark.
_LATE_MARK_SECONDS: Final = 0.1

#: A mark that is not back so long after the end of all audio never comes.
_LOST_MARK_SECONDS: Final = 3.0

#: A carrier that is late adds so many of its lags to that: one for each piece.
_LOST_MARK_LAGS: Final = 10


class Playout:
    """
    A clock that starts when audio is handed over, corrected by marks if there
    are any.

    The clock alone is the fastest a carrier can be.  A mark that comes back
    later than the clock says shows how far behind the carrier really is; one
    that comes back sooner is not believed.

    @param lag_seconds: a carrier that may be so late returns every mark, and
        until it does nothing of it is believed to be heard.
    @ivar sent: the position up to which audio was handed over.
    @ivar dry_at: when all of it will have been heard.
    @ivar soonest_dry_at: the same by the clock alone.
    """

    __slots__ = (
        *("_dry_rest", "_dry_until", "_is_timely", "_lost_after", "_marks"),
        *("_marks_returned", "_rate"),
        *("dry_at", "sent", "soonest_dry_at"),
    )

    def __init__(self, bytes_per_second: int, lag_seconds: float = 0.0) -> None:
        self.sent = 0
        self.dry_at = 0.0
        self.soonest_dry_at = 0.0
        self._dry_until = self._dry_rest = 0.0
        # A carrier that is late by nature takes what it is given, whenever.
        self._is_timely = lag_seconds == 0
        self._rate = bytes_per_second
        self._marks: OrderedDict[str, int] = OrderedDict()
        self._marks_returned = lag_seconds > 0
        self._lost_after = _LOST_MARK_SECONDS + lag_seconds * _LOST_MARK_LAGS

    def head(self, now: float) -> int:
        """The position heard at C{now}."""
        left = self.dry_at - now
        played = self.sent if left <= 0 else self.sent - round(left * self._rate)
        if self._marks and self._marks_returned:
            overdue = next(iter(self._marks.values()))
            if played - overdue > _LATE_MARK_SECONDS * self._rate:
                return overdue
        return max(0, played)

    def is_idle(self, now: float) -> bool:
        """
        Nothing is left to be heard: by the clock, and by every mark, unless
        the carrier never returns any.
        """
        if now < self.dry_at:
            return False
        if not self._marks or not self._marks_returned:
            return True
        # A mark is still out.  It was lost if it is far behind the clock.
        return now - self.dry_at > self._lost_after

    def play(self, byte_count: int, now: float) -> None:
        # A carrier that had run dry plays from now on.
        seconds = byte_count / self._rate
        dry_at, soonest = self.dry_at, self.soonest_dry_at
        self.dry_at = (dry_at if dry_at > now else now) + seconds
        self.soonest_dry_at = (soonest if soonest > now else now) + seconds
        self.sent += byte_count

    def dry_frames(self, now: float) -> int:
        """
        For so many frames nothing was there to be heard, by the clock: marks of a
        carrier say how late it is itself.

        @return: so many more than before.
        """
        since = max(self._dry_until, self.soonest_dry_at)
        if now <= since or not self._is_timely:
            return 0
        self._dry_until = now
        dry = self._dry_rest + (now - since) / (PTIME_MS / 1000)
        frames = int(dry)
        self._dry_rest = dry - frames
        return frames

    def skip(self, byte_count: int) -> None:
        """So much is never handed over; it counts as heard."""
        self.sent += byte_count
        for name in self._marks:
            self._marks[name] += byte_count

    def mark_sent(self, name: str) -> None:
        self._marks[name] = self.sent

    def mark_reached(self, name: str, now: float) -> bool:
        """
        The carrier returned a mark.

        @return: C{False} for a mark that means nothing: never sent, or sent
            before a L{clear}.
        """
        position = self._marks.get(name)
        if position is None:
            return False
        # Marks come back in order, so the earlier ones are reached as well.
        while self._marks.popitem(last=False)[0] != name:
            pass
        self._marks_returned = True
        dry_at = now + (self.sent - position) / self._rate
        if dry_at > self.soonest_dry_at - _UNTRUE_MARK_SECONDS:
            self.dry_at = max(dry_at, self.soonest_dry_at)
        return True

    def clear(self, now: float) -> None:
        """
        What was not heard is taken back.  Marks on their way come back without
        having been heard, so they are forgotten.
        """
        self.sent = self.head(now)
        self.dry_at = self.soonest_dry_at = now
        self._marks.clear()
