"""
One monotonic clock for all timers, whatever happens to the wall clock.

Twisted's reactors take their time from L{time.time}.  When the machine's clock is
set, every timer would fire at once, or be late by as much as the clock was set back.

What is shown to people, written down or signed uses the wall clock.
"""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """
    Put it into a reactor, before anything is scheduled there.

    @raise RuntimeError: something is; when it is due was counted by the wall clock.
    """
    if reactor.seconds is time.monotonic:
        return
    scheduled = reactor.getDelayedCalls()
    if scheduled:
        raise RuntimeError(f"scheduled before the clock was there: {scheduled[0]}")
    reactor.seconds = time.monotonic
