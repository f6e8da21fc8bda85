"""The one test base that may use a real reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase


class ReactorTestCase(TestCase):
    """
    A trial test that waits for real sockets, under either runner.

    Trial waits by calling C{reactor.run()}.  Once pytest-twisted has run any
    plain test function, the reactor is already running in its greenlet and
    that call raises C{ReactorAlreadyRunning}; then that greenlet waits instead.
    """

    #: Seconds; generous, as the machine may be busy.  A passing test is not delayed.
    timeout = 240

    def _wait(self, d: Deferred[object], *args: Any, **kwargs: Any) -> None:
        from twisted.internet import reactor

        if reactor.running:
            from pytest_twisted import blockon

            blockon(d)
        else:
            super()._wait(d, *args, **kwargs)
