"""
Tells how much of the audio handed to a leg the caller has heard.

Positions are bytes since the start of the call.  What happens at the far end of a leg
can only be inferred: from the clock, and from marks if the carrier has a playout
buffer and returns them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from chime_gateway.audio import PTIME_MS

#: A mark that returns this much before its audio can have been played was not tied to
#: playout (some carriers return marks at once).  It is ignored.
_UNTRUE_MARK_SECONDS: Final = 0.06

#: A carrier that is known to return marks, and is this late with one, has stalled.  The
#: position of that mark is taken as the position heard.
_LATE_MARK_SECONDS: Final = 0.1

#: A mark that is not back this long after the end of all audio is taken for lost.
_LOST_MARK_SECONDS: Final = 3.0

#: For a carrier with a lag, this many lags are added: one for each piece.
_LOST_MARK_LAGS: Final = 10


class Playout:
    """
    A clock that starts when audio is handed over, corrected by marks if there are any.

    No carrier is faster than the clock.  A mark that comes back later than the clock
    says shows how far behind the carrier is.  One that comes back sooner is ignored.

    @param lag_seconds: how late the carrier may be.  If not 0, it returns every mark,
        and audio counts as heard only when its mark has come back.
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
        # The buffer of a carrier with a lag is not taken to run dry.
        self._is_timely = lag_seconds == 0
        self._rate = bytes_per_second
        self._marks: OrderedDict[str, int] = OrderedDict()
        self._marks_returned = lag_seconds > 0
        self._lost_after = _LOST_MARK_SECONDS + lag_seconds * _LOST_MARK_LAGS

    def head(self, now: float) -> int:
        """Return the position heard at C{now}."""
        left = self.dry_at - now
        played = self.sent if left <= 0 else self.sent - round(left * self._rate)
        if self._marks and self._marks_returned:
            overdue = next(iter(self._marks.values()))
            if played - overdue > _LATE_MARK_SECONDS * self._rate:
                return overdue
        return max(0, played)

    def is_idle(self, now: float) -> bool:
        """
        Return whether all audio was heard: by the clock, and by every mark unless the
        carrier never returns any.
        """
        if now < self.dry_at:
            return False
        if not self._marks or not self._marks_returned:
            return True
        # A mark has not come back.  If it is far behind the clock, it was lost.
        return now - self.dry_at > self._lost_after

    def play(self, byte_count: int, now: float) -> None:
        # A carrier whose buffer was empty plays from now on.
        seconds = byte_count / self._rate
        dry_at, soonest = self.dry_at, self.soonest_dry_at
        self.dry_at = (dry_at if dry_at > now else now) + seconds
        self.soonest_dry_at = (soonest if soonest > now else now) + seconds
        self.sent += byte_count

    def dry_frames(self, now: float) -> int:
        """
        Return for how many more frames the carrier's buffer was empty since the last
        call.  Only the clock counts: marks show delays of the carrier itself.
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
        """Leave out audio that is never handed over.  It counts as heard."""
        self.sent += byte_count
        for name in self._marks:
            self._marks[name] += byte_count

    def mark_sent(self, name: str) -> None:
        self._marks[name] = self.sent

    def mark_reached(self, name: str, now: float) -> bool:
        """
        The carrier returned a mark.

        @return: C{False}: the mark is unknown, or was sent before a L{clear}.
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
        Take back what was not heard.  The carrier returns its marks although it was not
        heard, so they are forgotten.
        """
        self.sent = self.head(now)
        self.dry_at = self.soonest_dry_at = now
        self._marks.clear()
