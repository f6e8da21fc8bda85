"""
Whether this process can open what a call needs.

Sockets, files and look-ups of names all take descriptors.  Where the last ones are
gone, a connection can neither be accepted to say so, nor be opened to an agent.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

#: A call takes up to four (its own connection or two media ports, the agent's, a
#: recording), the look-up of a name three for a moment, the store and the API some.
#: A few calls may begin at once, and a page must be there to say that no more can.
SPARE: Final = 24

#: What the system says that has no more; with the last two it is memory.
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


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
