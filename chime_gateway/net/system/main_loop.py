"""
Keeps the reactor running until it is told to stop, even if an error cannot be logged.

Twisted logs an error in its loop, and continues.  If logging fails as well, for example
without memory, the error leaves C{reactor.run}.  The calls would be lost, but the
process would keep running, as it waits for its threads: a supervisor would not notice.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

from twisted.internet import base


class _Handler:
    """
    Replaces the handler of calls from threads: if logging the failure of such a call
    fails, the call must not be repeated.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        with contextlib.suppress(Exception):  # logging may fail
            self._handler.__exit__(kind, error, traceback)
        return True


def keep_going(reactor: Any) -> None:
    """
    Make the reactor's loop survive errors that cannot be logged.  Call this before it
    runs.

    @param reactor: one of Twisted's.
    """
    loop = reactor.mainLoop

    def loop_or_go_on() -> None:
        while True:
            try:
                loop()
            except Exception:
                # Not logged, as logging failed.  Due calls and ready descriptors are
                # handled in the next round.
                continue
            return

    reactor.mainLoop = loop_or_go_on
    if not isinstance(base._threadCallHandler, _Handler):
        base._threadCallHandler = _Handler(base._threadCallHandler)
