"""
Keeps the reactor's waker alive: the pipe through which threads and signals wake it.

The reactor drops and closes any reader that fails.  Without its waker it would get no
more results from threads: C{callFromThread} raises from then on.
"""

from __future__ import annotations

from typing import Any


def keep(waker: Any) -> None:
    """
    Make a waker survive a MemoryError while it is read: each read allocates 8 KiB.

    @param waker: the waker of one of Twisted's reactors.
    """
    read = waker.doRead

    def read_or_stay() -> None:
        try:
            read()
        except MemoryError:
            # The pipe is still readable, so it is read in the next round.
            return

    waker.doRead = read_or_stay
