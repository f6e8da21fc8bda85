"""
One beat for the whole process: every 20 ms all calls are ticked, in one go.

The beat is absolute: a late tick says how many frames have become due instead
of letting the stream slip.  It knows nothing of what a tick does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.audio import PTIME_MS

Tick: TypeAlias = Callable[[float, int], None]
Failed: TypeAlias = Callable[[Failure], None]

PERIOD_SECONDS: Final = PTIME_MS / 1000

#: So many frames of a late tick are made up: what a buffer at the other end bridges.
#: What became due beyond them nobody waits for any more.
MAX_MADE_UP: Final = 5


class Metronome:
    """
    @param late: told how many seconds after its time each tick came.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, late: Callable[[float], None] = lambda _: None
    ) -> None:
        self._clock = clock
        self._late = late
        self._ticked: dict[Tick, Failed] = {}
        self._next: IDelayedCall | None = None
        self._due_at = 0.0

    def add(self, tick: Tick, failed: Failed) -> None:
        """
        Call C{tick(now, due)} on every beat, C{due} being 1 or, after a late
        one, more.  Should it raise, it is removed and C{failed} is told: a bug
        in one call must not silence the others, nor must one in C{failed}.
        """
        self._ticked[tick] = failed
        if self._next is None:
            self._due_at = self._clock.seconds() + PERIOD_SECONDS
            self._next = self._clock.callLater(PERIOD_SECONDS, self._beat)

    def remove(self, tick: Tick) -> None:
        """Stop ticking it; unknown ones are none."""
        self._ticked.pop(tick, None)
        if not self._ticked and self._next is not None:
            self._next.cancel()
            self._next = None

    def _beat(self) -> None:
        self._next = None
        now = self._clock.seconds()
        late = now - self._due_at
        self._late(late)
        # The tolerance keeps a rounding error from costing a whole period.
        due = 1 + max(0, int(late / PERIOD_SECONDS + 1e-6))
        for tick, failed in list(self._ticked.items()):
            try:
                tick(now, due)
            except Exception:
                failure = Failure()
                self._log.failure("a tick failed", failure)
                self.remove(tick)
                with self._log.failuresHandled("to end a call whose tick failed"):
                    failed(failure)
        if self._next is not None:
            return  # the last one left and a new first one came, within a tick
        self._due_at += due * PERIOD_SECONDS
        if self._ticked:
            wait = max(0.0, self._due_at - self._clock.seconds())
            self._next = self._clock.callLater(wait, self._beat)
