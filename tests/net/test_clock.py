"""The monotonic clock of a reactor, and a wall clock that is set."""

from __future__ import annotations

import time
from typing import ClassVar

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, TimeoutError
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.clock import use_monotonic_clock
from chime_gateway.net.timer import Timer

HOUR = 3600.0


class Reactor(ReactorBase):
    """
    Twisted's reactor, with a wall clock that can be set; it never waits.

    @ivar ahead: how far its wall clock was set forward, in seconds.
    """

    ahead: ClassVar[float]

    def installWaker(self) -> None:
        pass

    @staticmethod
    def seconds() -> float:
        return time.time() + Reactor.ahead


class ClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        Reactor.ahead = 0.0
        self.reactor = Reactor()
        self.calls: list[str] = []

    def set_wall_clock(self, seconds: float) -> None:
        Reactor.ahead += seconds
        self.reactor.runUntilCurrent()

    def timeout(self) -> float:
        timeout = self.reactor.timeout()
        assert timeout is not None
        return timeout

    def test_without_it_a_step_of_the_wall_clock_moves_all_timers(self) -> None:
        self.reactor.callLater(10, self.calls.append, "due")
        self.set_wall_clock(-HOUR)
        self.assertGreater(self.timeout(), HOUR)
        self.set_wall_clock(2 * HOUR)
        self.assertEqual(self.calls, ["due"])

    def test_a_forward_step_of_the_wall_clock_fires_no_timer(self) -> None:
        use_monotonic_clock(self.reactor)
        self.reactor.callLater(10, self.calls.append, "due")
        self.set_wall_clock(HOUR)
        self.assertEqual(self.calls, [])
        self.assertApproximates(self.timeout(), 10, 1)

    def test_a_backward_step_of_the_wall_clock_delays_no_timer(self) -> None:
        use_monotonic_clock(self.reactor)
        self.reactor.callLater(10, self.calls.append, "due")
        self.set_wall_clock(-HOUR)
        self.assertApproximates(self.timeout(), 10, 1)
        self.reactor.callLater(0, self.calls.append, "now")
        self.set_wall_clock(-HOUR)
        self.assertEqual(self.calls, ["now"])

    def test_a_rescheduled_call_uses_the_monotonic_clock(self) -> None:
        use_monotonic_clock(self.reactor)
        timer = Timer(self.reactor)
        timer.start(10, self.calls.append, "due")
        Reactor.ahead += HOUR
        timer.move(20)
        self.reactor.runUntilCurrent()
        timer.move(5)
        self.assertApproximates(self.timeout(), 5, 1)

    def test_a_deferred_times_out_by_the_monotonic_clock(self) -> None:
        use_monotonic_clock(self.reactor)
        waiting: Deferred[None] = Deferred()
        waiting.addTimeout(10, self.reactor)
        self.set_wall_clock(HOUR)
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting).trap(Exception)
        soon: Deferred[None] = Deferred()
        soon.addTimeout(0, self.reactor)
        self.set_wall_clock(-HOUR)
        self.failureResultOf(soon, TimeoutError)

    def test_it_is_a_clock_that_cannot_be_set(self) -> None:
        use_monotonic_clock(self.reactor)
        self.assertIs(self.reactor.seconds, time.monotonic)

    def test_installing_it_twice_is_allowed_with_scheduled_calls(self) -> None:
        use_monotonic_clock(self.reactor)
        self.reactor.callLater(1, self.calls.append, "due")
        use_monotonic_clock(self.reactor)
        self.assertIs(self.reactor.seconds, time.monotonic)

    def test_it_cannot_be_installed_after_a_call_was_scheduled(self) -> None:
        early = self.reactor.callLater(1, self.calls.append, "due")
        error = self.assertRaises(RuntimeError, use_monotonic_clock, self.reactor)
        self.assertIn("scheduled before the clock", str(error))
        early.cancel()
        use_monotonic_clock(self.reactor)
        self.assertIs(self.reactor.seconds, time.monotonic)
