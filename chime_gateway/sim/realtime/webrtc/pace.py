"""The 20 ms beat at which all calls send, without gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.audio import PTIME_MS

_SECONDS: Final = PTIME_MS / 1000

#: After a longer stall the missed beats are skipped.
_MOST_LATE_SECONDS: Final = 1.0


class Pace:
    """The beat; it runs while it has members."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._members: dict[Callable[[], None], None] = {}
        self._timer: IDelayedCall | None = None
        self._due = 0.0

    def join(self, beat: Callable[[], None]) -> None:
        """Call C{beat} every 20 ms from now on."""
        self._members[beat] = None
        if self._timer is None:
            self._due = self._clock.seconds() + _SECONDS
            self._timer = self._clock.callLater(_SECONDS, self._beat)

    def leave(self, beat: Callable[[], None]) -> None:
        self._members.pop(beat, None)
        if not self._members and self._timer is not None:
            timer, self._timer = self._timer, None
            if timer.active():
                timer.cancel()

    def _beat(self) -> None:
        now = self._clock.seconds()
        if now - self._due > _MOST_LATE_SECONDS:
            self._due = now
        while self._due <= now and self._members:
            self._due += _SECONDS
            for beat in list(self._members):
                beat()
        if self._members:
            wait = max(0.0, self._due - self._clock.seconds())
            self._timer = self._clock.callLater(wait, self._beat)
        else:
            self._timer = None
