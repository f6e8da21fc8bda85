"""
Measures whether the process can carry one more call without harm to the others.

Two measurements count.  A late 20 ms beat shows that the reactor or the machine is
busy.  The CPU time used shows that it soon will be.  Both must last for a while: one
long garbage collection, or a process that was stopped, is not an overload.  Once
overloaded, the process takes calls again only after the load has been clearly lower for
a while.

The object has no timer: the metronome reports each tick to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import exp
from typing import Final

from chime_gateway.settings.values import Limits

#: The time constant of both averages.
AVERAGE_SECONDS: Final = 1.0

#: How often the CPU time is read.
_SAMPLE_SECONDS: Final = 0.25

#: The most that a single late tick counts: after the process was stopped, one tick is
#: very late, which says nothing about the next one.
_MOST_LATE_SECONDS: Final = 0.1
_TICK_SECONDS: Final = 0.02
_MOST_TICK_SECONDS: Final = 0.06

#: An overload is over when lateness is below this share of its limit, CPU is this much
#: below its limit, and the last overload was this long ago.
_LOW_LATE: Final = 0.5
_LOW_CPU: Final = 0.1
HOLD_SECONDS: Final = 2.0

#: A new call's share of a core, and how long it takes until the average shows it: its
#: session is opened first, and then audio flows.
_CALL_CPU: Final = 0.004
_UNSEEN_SECONDS: Final = 2.0


class Load:
    """
    @ivar limits: the limits in force.
    @param clock: seconds, monotonic.
    @param cpu_seconds: returns the CPU time that the process has used.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        cpu_seconds: Callable[[], float],
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._cpu_seconds = cpu_seconds
        self._late = self._cpu = 0.0
        self._ticked_at = self._sampled_at = clock()
        self._used = cpu_seconds()
        self._unseen: deque[float] = deque()
        self._too_much_at: float | None = None
        self._why = ""

    # -- measurements ----------------------------------------------------------

    def tick_was_late(self, seconds: float) -> None:
        """The metronome reports how late a tick was."""
        now = self._clock()
        passed = min(max(now - self._ticked_at, _TICK_SECONDS), _MOST_TICK_SECONDS)
        late = min(max(seconds, 0.0), _MOST_LATE_SECONDS)
        self._late += (late - self._late) * (1 - exp(-passed / AVERAGE_SECONDS))
        self._ticked_at = now
        if now - self._sampled_at >= _SAMPLE_SECONDS:
            self._sample(now)

    def call_began(self) -> None:
        self._unseen.append(self._clock())

    # -- queries ---------------------------------------------------------------

    @property
    def cpu(self) -> float:
        """Average share of one core in use."""
        self._update()
        return self._cpu

    @property
    def late_seconds(self) -> float:
        """Average lateness of a tick."""
        self._update()
        return self._late

    def fault(self) -> str | None:
        """Return why no call may be taken now, or C{None}."""
        now = self._update()
        if self._too_much_at is not None:
            return self._why
        most = self.limits.max_cpu
        while self._unseen and now - self._unseen[0] >= _UNSEEN_SECONDS:
            self._unseen.popleft()
        soon = self._cpu + (len(self._unseen) + 1) * _CALL_CPU
        if soon > most and self._unseen:
            return f"overloaded: {len(self._unseen)} calls begin at once"
        return None

    # -- inside ----------------------------------------------------------------

    def _update(self) -> float:
        now = self._clock()
        if now - self._sampled_at >= _SAMPLE_SECONDS:
            self._sample(now)
        return now

    def _sample(self, now: float) -> None:
        passed, self._sampled_at = now - self._sampled_at, now
        used = self._cpu_seconds()
        share, self._used = (used - self._used) / passed, used
        # A stopped process uses no CPU; a long stop must not clear the average.
        weight = 1 - exp(-min(passed, AVERAGE_SECONDS) / AVERAGE_SECONDS)
        self._cpu += (share - self._cpu) * weight
        since = now - self._ticked_at
        if since > AVERAGE_SECONDS:
            # Without calls there are no ticks, so nothing is late.
            self._late *= exp(-since / AVERAGE_SECONDS)
        self._judge(now)

    def _judge(self, now: float) -> None:
        limits = self.limits
        most_late, most_cpu = limits.max_late_seconds, limits.max_cpu
        if self._late > most_late:
            self._why = (
                f"overloaded: the beat is {self._late * 1000:.0f} ms late"
                f" (max_late_seconds is {most_late:g})"
            )
        elif self._cpu > most_cpu:
            self._why = (
                f"overloaded: {self._cpu:.2f} of a core is used (max_cpu is"
                f" {most_cpu:g})"
            )
        else:
            is_low = (
                self._late <= most_late * _LOW_LATE and self._cpu <= most_cpu - _LOW_CPU
            )
            is_long_ago = (
                self._too_much_at is None or now - self._too_much_at >= HOLD_SECONDS
            )
            if is_low and is_long_ago:
                self._too_much_at = None
            return
        self._too_much_at = now
