"""
One metronome for the whole process: every 20 ms all calls are ticked, in one go, and
legs whose packets are longer or shorter in their own beat.

A beat is absolute: a late tick says how many frames have become due instead
of letting the stream slip.  It knows nothing of what a tick does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, TypeAlias, TypeGuard

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.audio import PTIME_MS

Tick: TypeAlias = Callable[[float, int], None]
Failed: TypeAlias = Callable[[Failure], None]

PERIOD_SECONDS: Final = PTIME_MS / 1000

#: So many frames of a late tick are made up: a buffer at the other end bridges them.
#: After a longer one that buffer is empty, and nobody waits for what was due.
MAX_MADE_UP: Final = 5


#: A beat that had no memory, to be scheduled or to begin, is made up so much later.
SPARE_SECONDS: Final = MAX_MADE_UP * PERIOD_SECONDS

#: Why, where there is no memory to say it.
_UNKNOWN: Final = Failure(MemoryError())


def _is_due(one: IDelayedCall | None) -> TypeGuard[IDelayedCall]:
    return one is not None and bool(one.active())


class _Beat:
    """
    Those who are ticked each so often.

    @ivar due_at: when they are next.
    """

    def __init__(self, period: float, due_at: float) -> None:
        self.period = period
        self.due_at = due_at
        self.ticked: dict[Tick, Failed] = {}


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
        self._beats: dict[float, _Beat] = {}
        self._began = 0.0
        self._next: IDelayedCall | None = None
        self._spare: IDelayedCall | None = None
        self._is_ticking = False

    def __len__(self) -> int:
        """How many are ticked."""
        return sum(len(beat.ticked) for beat in self._beats.values())

    def add(self, tick: Tick, failed: Failed) -> None:
        """
        Call C{tick(now, due)} every 20 ms, C{due} being 1 or, after a late
        one, more.  Should it raise, it is removed and C{failed} is told: a bug
        in one call must not silence the others, nor must one in C{failed}.
        """
        self.add_each(PERIOD_SECONDS, tick, failed)

    def add_each(self, period: float, tick: Tick, failed: Failed) -> None:
        """
        The same each C{period} seconds.

        All periods have their beats on one grid; of those that fall together the
        one of 20 ms is first, at which calls say what is to be sent.
        """
        beat = self._beats.get(period)
        if beat is None:
            now = self._clock.seconds()
            if not self._beats:
                self._began = now
            passed = int((now - self._began) / period + 1e-6)
            beat = _Beat(period, self._began + (passed + 1) * period)
            self._beats[period] = beat
            if period == PERIOD_SECONDS:
                others = [
                    other for other in self._beats.items() if other[1] is not beat
                ]
                self._beats = {period: beat, **dict(others)}
        beat.ticked[tick] = failed
        if self._is_ticking:
            return
        try:
            self._schedule(beat.due_at)
        except BaseException:
            self.remove(tick)
            raise

    def remove(self, tick: Tick) -> None:
        """Stop ticking it; unknown ones are none."""
        for beat in self._beats.values():
            if tick in beat.ticked:
                del beat.ticked[tick]
                if not beat.ticked:
                    del self._beats[beat.period]
                break
        if not self._beats:
            for one in (self._next, self._spare):
                if _is_due(one):
                    one.cancel()
            self._next = self._spare = None

    def _schedule(self, due_at: float) -> None:
        wait = max(0.0, due_at - self._clock.seconds())
        # First, for what it is there for: no memory for the next one.
        if _is_due(self._spare):
            self._spare.reset(wait + SPARE_SECONDS)
        else:
            self._spare = self._clock.callLater(wait + SPARE_SECONDS, self._tick)
        if not _is_due(self._next):
            self._next = self._clock.callLater(wait, self._tick)
        elif self._clock.seconds() + wait < self._next.getTime():
            # Sooner, and never later: what is due already is not put off by whoever
            # comes before it is its turn.
            self._next.reset(wait)

    def _tick(self) -> None:
        self._is_ticking = True
        try:
            now = self._clock.seconds()
            for beat in list(self._beats.values()):
                # The tolerance keeps a rounding error from costing a whole period.
                if beat.due_at <= now + 1e-6:
                    self._run(beat, now)
        finally:
            self._is_ticking = False
            # Whatever failed, there is a next one.
            if self._beats:
                self._schedule(min([beat.due_at for beat in self._beats.values()]))

    def _run(self, beat: _Beat, now: float) -> None:
        late = now - beat.due_at
        self._late(late)
        due = 1 + max(0, int(late / beat.period + 1e-6))
        beat.due_at += due * beat.period
        for tick, failed in list(beat.ticked.items()):
            try:
                tick(now, due)
            except Exception:
                self._failed(tick, failed)

    def _failed(self, tick: Tick, failed: Failed) -> None:
        """Out of memory, any of it may fail: the others are ticked all the same."""
        with contextlib.suppress(Exception):
            self.remove(tick)
        failure = _UNKNOWN
        try:
            failure = Failure()
            failed(failure)
            self._log.failure("a tick failed", failure)
        except Exception:
            try:
                failed(failure)
                self._log.failure("to end a call whose tick failed")
            except Exception:
                with contextlib.suppress(Exception):
                    self._log.failure("to end a call whose tick failed, again")
