"""
The metronome of the process: ticks all calls every 20 ms.

Legs whose packets are longer or shorter are ticked at their own period.  A call that
has nothing to do every 20 ms is ticked on every fifth beat, in one of five groups.

Beats are at absolute times: a late tick says how many frames have become due, so the
stream does not drift.
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

#: A slow tick comes once in this many beats.
SLOW_BEATS: Final = 5
SLOW_SECONDS: Final = SLOW_BEATS * PERIOD_SECONDS

#: The maximum number of frames that a late tick makes up: a buffer at the other end
#: bridges them.  After a longer delay that buffer is empty, and sending the missed
#: frames would only make the stream late.
MAX_MADE_UP: Final = 5


#: A beat that failed for lack of memory is made up this much later.
SPARE_SECONDS: Final = MAX_MADE_UP * PERIOD_SECONDS

#: The failure that is reported when there is no memory to make one.
_UNKNOWN: Final = Failure(MemoryError())


def _is_due(one: IDelayedCall | None) -> TypeGuard[IDelayedCall]:
    return one is not None and bool(one.active())


class _Beat:
    """
    The members that are ticked at one period.

    @ivar due_at: when the next tick is due.
    @ivar ticked: members ticked every time.
    @ivar slow: groups of members that take turns.
    """

    def __init__(self, period: float, due_at: float) -> None:
        self.period = period
        self.due_at = due_at
        self.ticked: dict[Tick, Failed] = {}
        self.slow: list[dict[Tick, Failed]] = [{} for _ in range(SLOW_BEATS)]
        self._number = 0

    def __len__(self) -> int:
        return len(self.ticked) + sum([len(group) for group in self.slow])

    def remove(self, tick: Tick) -> bool:
        """@return: whether C{tick} was a member."""
        for group in (self.ticked, *self.slow):
            if tick in group:
                del group[tick]
                return True
        return False

    def set_slow(self, tick: Tick, is_slow: bool) -> None:
        for group in (self.ticked, *self.slow):
            failed = group.get(tick)
            if failed is not None and (group is not self.ticked) is not is_slow:
                # Added before it is removed: without memory it stays where it is.
                (min(self.slow, key=len) if is_slow else self.ticked)[tick] = failed
                del group[tick]
                return

    def take(self, due: int) -> list[tuple[Tick, Failed]]:
        """@return: the members that C{due} beats tick, each once."""
        ticked = list(self.ticked.items())
        for number in range(self._number, self._number + min(due, SLOW_BEATS)):
            ticked += self.slow[number % SLOW_BEATS].items()
        self._number = (self._number + due) % SLOW_BEATS
        return ticked


class Metronome:
    """
    Calls its members at each beat.

    @param late: called at each beat with its delay in seconds.
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
        """The number of members."""
        return sum(len(beat) for beat in self._beats.values())

    def add(self, tick: Tick, failed: Failed, *, is_slow: bool = False) -> None:
        """
        Call C{tick(now, due)} every 20 ms.  C{due} is 1, or more after a late beat.  A
        C{tick} that raises is removed, and C{failed} is called: a bug in one call must
        not silence the others, nor must one in C{failed}.

        @param is_slow: call it on every fifth beat.  C{due} is 1 plus the number of
            beats by which that one was late.
        """
        self.add_each(PERIOD_SECONDS, tick, failed)
        if is_slow:
            with contextlib.suppress(MemoryError):  # or it is ticked more often
                self.set_slow(tick, True)

    def set_slow(self, tick: Tick, is_slow: bool) -> None:
        """
        Change how often C{tick} is called, from the next beat on.  An unknown C{tick}
        is ignored.
        """
        beat = self._beats.get(PERIOD_SECONDS)
        if beat is not None:
            beat.set_slow(tick, is_slow)

    def add_each(self, period: float, tick: Tick, failed: Failed) -> None:
        """
        Call C{tick} every C{period} seconds.  See L{add}.

        The beats of all periods begin at the same time.  Where beats coincide, the one
        of 20 ms comes first: calls decide then what is to be sent.
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
        """Stop calling C{tick}.  An unknown C{tick} is ignored."""
        for beat in self._beats.values():
            if beat.remove(tick):
                if not len(beat):
                    del self._beats[beat.period]
                break
        if not self._beats:
            for one in (self._next, self._spare):
                if _is_due(one):
                    one.cancel()
            self._next = self._spare = None

    def _schedule(self, due_at: float) -> None:
        wait = max(0.0, due_at - self._clock.seconds())
        # The spare is scheduled first: it is for when there is no memory for the next.
        if _is_due(self._spare):
            self._spare.reset(wait + SPARE_SECONDS)
        else:
            self._spare = self._clock.callLater(wait + SPARE_SECONDS, self._tick)
        if not _is_due(self._next):
            self._next = self._clock.callLater(wait, self._tick)
        elif self._clock.seconds() + wait < self._next.getTime():
            # Sooner only, never later: a new member must not delay a beat that is due.
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
            # Whatever failed, the next beat is scheduled.
            if self._beats:
                self._schedule(min([beat.due_at for beat in self._beats.values()]))

    def _run(self, beat: _Beat, now: float) -> None:
        late = now - beat.due_at
        self._late(late)
        due = 1 + max(0, int(late / beat.period + 1e-6))
        ticked = beat.take(due)
        beat.due_at += due * beat.period
        for tick, failed in ticked:
            try:
                tick(now, due)
            except Exception:
                self._failed(tick, failed)

    def _failed(self, tick: Tick, failed: Failed) -> None:
        """End a member.  Without memory any step may fail; the others go on anyway."""
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
                self._log.failure("could not end a call whose tick failed")
            except Exception:
                with contextlib.suppress(Exception):
                    self._log.failure("could not end a call whose tick failed, again")


class Ticked:
    """
    One member's ticks: every 20 ms while something may be due with each frame, else
    slow.  What need not be exact to the frame is checked on every fifth beat in either
    case.

    @param is_slow: begin with slow ticks.
    """

    __slots__ = ("_beats_left", "_each", "_is_slow", "_look", "_metronome")

    def __init__(self, metronome: Metronome, is_slow: bool) -> None:
        self._metronome = metronome
        self._is_slow = is_slow
        self._beats_left = 1 if is_slow else SLOW_BEATS

    def start(
        self,
        each: Callable[[float, int], bool],
        look: Callable[[float], None],
        failed: Failed,
    ) -> None:
        """
        See L{Metronome.add}.

        @param each: called on each tick.  It returns whether slow ticks will do.
        @param look: called after it on every fifth beat.
        """
        self._each = each
        self._look = look
        self._metronome.add(self._tick, failed, is_slow=self._is_slow)

    def stop(self) -> None:
        self._metronome.remove(self._tick)

    def want(self) -> None:
        """Tick every 20 ms from now on."""
        self._set_slow(False)

    def _tick(self, now: float, due: int) -> None:
        is_slow = self._each(now, due)
        left = self._beats_left = self._beats_left - due
        if left > 0:
            return
        # Modulo, so that after a stall the calls do not all look on the same beat.
        self._beats_left = 1 if is_slow else SLOW_BEATS - -left % SLOW_BEATS
        self._set_slow(is_slow)
        self._look(now)

    def _set_slow(self, is_slow: bool) -> None:
        if is_slow is not self._is_slow:
            self._metronome.set_slow(self._tick, is_slow)
            self._is_slow = is_slow
