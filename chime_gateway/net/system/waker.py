"""
Keeps the reactor's waker alive: the pipe by which threads and signals wake it.

The reactor drops and closes any reader that fails.  For its own waker that would end
all answers from threads:  C{callFromThread} raises from then on.
"""

from __future__ import annotations

from typing import Any


def keep(waker: Any) -> None:
    """
    Have it outlive a lack of memory as it is read: 8 KiB, for which there may be none.

    @param waker: of a reactor of Twisted's.
    """
    read = waker.doRead

    def read_or_stay() -> None:
        try:
            read()
        except MemoryError:
            # The pipe is still full, so that it is read in the next round.
            return

    waker.doRead = read_or_stay
