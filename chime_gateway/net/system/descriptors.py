"""
Tells whether this process has enough file descriptors for another call.

Sockets, files and look-ups of names all take descriptors.  Without any left, a
connection cannot be accepted even to refuse it, and none can be opened to an agent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from typing import Final

#: A call takes up to five (its own connection or three media sockets, the agent's, a
#: recording), the look-up of a name three for a moment, the store and the API some.
#: A few calls may begin at once, and a page must be there to say that no more can.
SPARE: Final = 24

#: The last ones of the process, which nobody has of whom nothing is known: more than
#: L{SPARE}, so that calls are not refused for strangers.
RESERVE: Final = 64

#: What the system says that has no more; with the last two it is memory.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def room_for(connections: int, calls: int, of_a_call: int) -> int:
    """
    How many connections there may be that are none of a call.

    They are beside all calls where there are descriptors for both.  Where not, all
    calls may still come at once, and from one address, which has half of the room:
    none of them is a call yet, and none has the descriptors of one.

    @param connections: that are wanted.
    @param calls: that there may be.
    @param of_a_call: descriptors that each takes.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    usable = soft - RESERVE
    return min(connections, max(usable - of_a_call * calls, min(2 * calls, usable)))


def is_in_reserve(descriptor: int) -> bool:
    """
    Whether a new descriptor is one of the last.

    The system gives the lowest that is free, so this one says how many there are.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - RESERVE


def shortage() -> str | None:
    """
    What there is too little of, or C{None}.

    It is tried, not counted: limits are the process', the system's and a container's,
    and may change at any time.  That takes some tens of microseconds.
    """
    opened: list[int] = []
    try:
        while len(opened) < SPARE:
            opened += os.pipe()
    except OSError as exc:
        if exc.errno not in EXHAUSTED:
            raise
        return f"out of file descriptors: {exc.strerror}"
    finally:
        for descriptor in opened:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    return None
