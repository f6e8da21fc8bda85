"""
Keeps the reactor running until it is told to stop, even if an error cannot be logged.

Twisted logs an error in its loop, and goes on; if logging fails as well, for example
without memory, the error leaves C{reactor.run}.  The calls would be lost, yet the
process would stay, as it waits for its threads, and a supervisor would not notice.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

from twisted.internet import base


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
        with contextlib.suppress(Exception):  # of the log itself
            self._handler.__exit__(kind, error, traceback)
        return True


def keep_going(reactor: Any) -> None:
    """
    Have its loop outlive what cannot be logged; before it runs.

    @param reactor: one of Twisted's.
    """
    loop = reactor.mainLoop

    def loop_or_go_on() -> None:
        while True:
            try:
                loop()
            except Exception:
                # No word of it: that is what failed.  Timed calls that are due, and
                # descriptors that are ready, are still so in the next round.
                continue
            return

    reactor.mainLoop = loop_or_go_on
    if not isinstance(base._threadCallHandler, _Handler):
        base._threadCallHandler = _Handler(base._threadCallHandler)
