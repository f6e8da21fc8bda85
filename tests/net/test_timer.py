"""A restartable timer."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.timer import Timer


class Owner:
    """Has a timer that calls it."""

    def __init__(self, clock: Clock) -> None:
        self.timer = Timer(clock)
        self.calls = 0

    def called(self) -> None:
        self.calls += 1


class TimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.timer = Timer(self.clock)
        self.calls: list[object] = []

    def test_it_calls_once_when_its_time_has_come(self) -> None:
        self.timer.start(2, self.calls.append, "now")
        self.clock.advance(1.9)
        self.assertEqual(self.calls, [])
        self.clock.advance(0.1)
        self.assertEqual(self.calls, ["now"])
        self.clock.advance(100)
        self.assertEqual(self.calls, ["now"])

    def test_it_is_running_from_its_start_until_it_calls(self) -> None:
        self.assertFalse(self.timer.is_running)
        self.timer.start(1, lambda: self.calls.append(self.timer.is_running))
        self.assertTrue(self.timer.is_running)
        self.clock.advance(1)
        self.assertEqual(self.calls, [False])
        self.assertFalse(self.timer.is_running)

    def test_a_stopped_timer_does_not_call(self) -> None:
        self.timer.start(1, self.calls.append, "never")
        self.timer.stop()
        self.assertFalse(self.timer.is_running)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(2)
        self.assertEqual(self.calls, [])

    def test_it_may_be_stopped_at_any_time_and_repeatedly(self) -> None:
        self.timer.stop()
        self.timer.start(1, self.timer.stop)
        self.clock.advance(1)
        self.timer.stop()
        self.timer.start(1, self.calls.append, "never")
        self.timer.stop()
        self.timer.stop()
        self.clock.advance(2)
        self.assertEqual(self.calls, [])

    def test_a_second_start_replaces_the_first(self) -> None:
        self.timer.start(1, self.calls.append, "first")
        self.timer.start(3, self.calls.append, "second")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([1, 1])
        self.assertEqual(self.calls, [])
        self.clock.advance(1)
        self.assertEqual(self.calls, ["second"])

    def test_the_called_function_may_start_it_again(self) -> None:
        def again() -> None:
            self.calls.append(self.clock.seconds())
            if len(self.calls) < 3:
                self.timer.start(2, again)

        self.timer.start(2, again)
        self.clock.pump([2, 2, 2, 2])
        self.assertEqual(self.calls, [2, 4, 6])
        self.assertFalse(self.timer.is_running)

    def test_the_called_function_may_start_and_stop_it(self) -> None:
        def change_of_mind() -> None:
            self.timer.start(1, self.calls.append, "never")
            self.timer.stop()

        self.timer.start(1, change_of_mind)
        self.clock.pump([1, 1])
        self.assertEqual(self.calls, [])

    def test_it_can_be_started_again_after_the_function_failed(self) -> None:
        def broken() -> None:
            raise RuntimeError("a bug")

        self.timer.start(1, broken)
        self.assertRaises(RuntimeError, self.clock.advance, 1)
        self.timer.start(1, self.calls.append, "again")
        self.clock.advance(1)
        self.assertEqual(self.calls, ["again"])

    def test_it_may_be_rescheduled_earlier_or_later(self) -> None:
        self.timer.start(10, self.calls.append, "now")
        self.assertTrue(self.timer.move(20))
        self.clock.advance(15)
        self.assertEqual(self.calls, [])
        self.assertTrue(self.timer.move(0))
        self.clock.advance(0)
        self.assertEqual(self.calls, ["now"])

    def test_moving_a_stopped_timer_does_nothing(self) -> None:
        self.assertFalse(self.timer.move(1))
        self.timer.start(1, self.calls.append, "now")
        self.clock.advance(1)
        self.assertFalse(self.timer.move(1))
        self.clock.advance(2)
        self.assertEqual(self.calls, ["now"])

    def test_arguments_are_passed_to_the_function(self) -> None:
        def take(*arguments: int) -> None:
            self.calls.append(arguments)

        self.timer.start(1, take, 1, 2)
        self.clock.advance(1)
        self.assertEqual(self.calls, [(1, 2)])


class ReferenceTests(SynchronousTestCase):
    """An owner is freed with its last reference, without the garbage collector."""

    def setUp(self) -> None:
        self.clock = Clock()
        gc.disable()
        self.addCleanup(gc.enable)

    def is_gone(self, owner: weakref.ref[Owner]) -> bool:
        return owner() is None

    def test_an_owner_is_freed_after_the_call(self) -> None:
        owner = Owner(self.clock)
        owner.timer.start(1, owner.called)
        self.clock.advance(1)
        self.assertEqual(owner.calls, 1)
        there = weakref.ref(owner)
        del owner
        self.assertTrue(self.is_gone(there))

    def test_an_owner_is_freed_after_a_stop(self) -> None:
        owner = Owner(self.clock)
        owner.timer.start(1, owner.called)
        owner.timer.stop()
        there = weakref.ref(owner)
        del owner
        self.assertTrue(self.is_gone(there))
