"""
Tells whether this process has enough file descriptors for another call.

Sockets, files and name look-ups all take descriptors.  With none left, a connection
cannot be accepted even to refuse it, and none can be opened to an agent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from typing import Final

#: Descriptors that must be free.  A call takes up to five (its own connection or three
#: media sockets, the agent's, a recording), a name look-up three for a moment, the
#: store and the API some.  A few calls may begin at once, and the API must still
#: answer.
SPARE: Final = 24

#: The last descriptors of the process, which strangers do not get.  More than L{SPARE},
#: so that calls are not refused because of strangers.
RESERVE: Final = 64

#: Errors that mean that the system has no more; with the last two, no more memory.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def room_for(connections: int, calls: int, of_a_call: int) -> int:
    """
    Return how many connections without a call may be open.

    As many as wanted, if there are descriptors for them and for all calls.  If not,
    there must still be room for all calls to begin at once, all from one address, which
    may have half of the connections.  At that moment none of them is a call yet, or has
    a call's descriptors.

    @param connections: the wanted number of connections.
    @param calls: the maximum number of calls.
    @param of_a_call: descriptors that each call takes.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    usable = soft - RESERVE
    return min(connections, max(usable - of_a_call * calls, min(2 * calls, usable)))


def is_in_reserve(descriptor: int) -> bool:
    """
    Whether a new descriptor is one of the last.

    The system assigns the lowest free number, so the number shows how many are open.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - RESERVE


def shortage() -> str | None:
    """
    Return what is short, in words, or C{None}.

    It opens descriptors instead of counting them: the process, the system and a
    container have limits, which may change at any time.  This takes some tens of
    microseconds.
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
