"""
The pipe by which threads and signals wake the reactor, for as long as it runs.

The reactor drops whoever fails as it is read, and closes it.  Of its own waker that is
the end of every answer of every thread: C{callFromThread} raises from then on.
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
