"""
Handles the process's signals, from the earliest possible moment.

Twisted's own handlers let the process die by the signal that stopped it, which
supervisors other than systemd count as a crash.  A requested stop is no failure: the
status is 0.  PID 1 of a container receives only signals for which it has a handler,
so the handlers are installed as early as possible.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_REQUESTS: Final = (signal.SIGHUP, signal.SIGUSR2)


def listen_while_starting() -> None:
    """
    Nothing is under way yet: a stop is the end, and there is nothing to reload, nor to
    hand over.
    """
    for number in _STOPS:
        signal.signal(number, _end)
    for number in _REQUESTS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    """
    At once: an exception would come up wherever the program is, also where Python
    ignores them (weak references, C{__del__}) or somebody takes them for a failure.
    """
    os._exit(0)


class Signals:
    """
    Signals while the reactor runs.

    @param hurry: called when told to stop for a second time, and each time after.
    @param reload: called for SIGHUP.
    @param take_over: called for SIGUSR2.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        hurry: Callable[[], object],
        reload: Callable[[], object],
        take_over: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._reload = reload
        self._take_over = take_over

    def started(self) -> None:
        """
        All has been started, and the reactor runs soon: a stop is its first task.

        Whoever does not run the process keeps the handlers that there are.
        """
        if signal.getsignal(signal.SIGTERM) is _end:
            self.listen()

    def listen(self) -> None:
        """In place of Twisted's handlers; called in the main thread."""
        for number in (*_STOPS, *_REQUESTS):
            signal.signal(number, self._signalled)
        # Twisted's may have been called before they were replaced.
        self._reactor.addSystemEventTrigger("after", "shutdown", self._forget)

    def _forget(self) -> None:
        """Clear the exit signal, which twistd would raise, and ignore further ones."""
        self._reactor._exitSignal = None
        # Python takes handlers away before it ends: a signal would kill it.
        for number in (*_STOPS, *_REQUESTS):
            signal.signal(number, signal.SIG_IGN)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        # The reactor may be in the middle of anything; a log line is, too.
        self._reactor.callFromThread(self.told, number)

    def told(self, number: int) -> None:
        """Called in the reactor."""
        if number == signal.SIGHUP:
            self._reload()
            return
        if number == signal.SIGUSR2:
            self._take_over()
            return
        self._log.info("told to stop: {name}", name=signal.Signals(number).name)
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            self._hurry()  # it stops already
