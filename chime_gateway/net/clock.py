"""
Makes the reactor's timers use a monotonic clock, so steps of the wall clock do not
affect them.

Twisted's reactors read L{time.time}.  When the machine's clock is set forward, every
timer would fire at once; when it is set back, every timer would be late.

Times that are displayed, stored or signed use the wall clock.
"""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """
    Install the monotonic clock in a reactor, before anything is scheduled there.

    @raise RuntimeError: a call is already scheduled, by the wall clock.
    """
    if reactor.seconds is time.monotonic:
        return
    scheduled = reactor.getDelayedCalls()
    if scheduled:
        raise RuntimeError(f"scheduled before the clock was set: {scheduled[0]}")
    reactor.seconds = time.monotonic
