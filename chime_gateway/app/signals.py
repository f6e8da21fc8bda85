"""
Handles the process's signals, from the earliest possible moment.

With Twisted's own handlers, the process would end by the signal that stopped it, which
supervisors other than systemd count as a crash.  A requested stop is not a failure: the
exit status is 0.  PID 1 of a container receives only signals for which it has a
handler, so the handlers are installed as early as possible.
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
    Install handlers for the start: a stop ends the process at once; requests to reload
    or to take over are ignored, as there is nothing yet to which they could apply.
    """
    for number in _STOPS:
        signal.signal(number, _end)
    for number in _REQUESTS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    """
    End the process at once.  An exception would be raised wherever the program is, also
    where Python ignores exceptions (weak references, C{__del__}) or where one is taken
    for a failure.
    """
    os._exit(0)


class Signals:
    """
    Signals while the reactor runs.

    @param hurry: called for the second request to stop, and for each one after it.
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
        The service has started, and the reactor will run soon: from now on a stop is a
        task of the reactor.

        Handlers are replaced only if L{listen_while_starting} installed them: otherwise
        the process is not the service's own.
        """
        if signal.getsignal(signal.SIGTERM) is _end:
            self.listen()

    def listen(self) -> None:
        """Replace Twisted's handlers; called in the main thread."""
        for number in (*_STOPS, *_REQUESTS):
            signal.signal(number, self._signalled)
        # Twisted's may have been called before they were replaced.
        self._reactor.addSystemEventTrigger("after", "shutdown", self._forget)

    def _forget(self) -> None:
        """Clear the exit signal, which twistd would raise, and ignore further ones."""
        self._reactor._exitSignal = None
        # Python removes handlers before it exits; a signal would then kill it.
        for number in (*_STOPS, *_REQUESTS):
            signal.signal(number, signal.SIG_IGN)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        # The reactor, or a log line, may be interrupted in the middle.
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
            self._hurry()  # it is stopping already
