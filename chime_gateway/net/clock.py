"""
One clock for all that waits: it runs on whatever happens to the wall clock.

Twisted's reactors take their time from L{time.time}.  Where somebody sets the
clock of the machine, or it is found to be wrong, everything that is scheduled would
be due at once, or not for as long as the clock was set back.

What is told to people, written down or signed takes its time from the wall, once.
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
