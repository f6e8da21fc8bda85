"""
The loop of the reactor, which no lack of memory ends.

Twisted's logs what fails in it, and goes on; where there is no memory for that either,
the C{MemoryError} leaves C{reactor.run}, and the process is over with all its calls.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Final

from twisted.internet import base

#: CPython's own paths without memory are not all sound: "error return without exception
#: set" has been seen to leave the loop.
_LACKING: Final = (MemoryError, SystemError)


class _Handler:
    """Of what threads ask for: one that failed unlogged would be called once more."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        with contextlib.suppress(*_LACKING):  # of the log itself
            self._handler.__exit__(kind, error, traceback)
        return True


def keep_going(reactor: Any) -> None:
    """
    Have its loop outlive a lack of memory; before it runs.

    @param reactor: one of Twisted's.
    """
    loop = reactor.mainLoop

    def loop_or_go_on() -> None:
        while True:
            try:
                loop()
            except _LACKING:
                # No word of it: that is what failed.  Timed calls that are due, and
                # descriptors that are ready, are still so in the next round.
                continue
            return

    reactor.mainLoop = loop_or_go_on
    if not isinstance(base._threadCallHandler, _Handler):
        base._threadCallHandler = _Handler(base._threadCallHandler)
