"""Load counts as overload when it lasts, and is over when it is clearly lower."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.admission.load import HOLD_SECONDS, Load
from chime_gateway.media.metronome import PERIOD_SECONDS, Metronome
from chime_gateway.settings.values import Limits

LIMITS = Limits()


class Process:
    """
    A process with a metronome: it is busy or stopped for a while, and then its reactor
    does what has become due.
    """

    def __init__(self, has_calls: bool = True) -> None:
        self.clock = Clock()
        self.used = 0.0
        self.load = Load(LIMITS, self.clock.seconds, lambda: self.used)
        self.metronome = Metronome(self.clock, self.load.tick_was_late)
        if has_calls:
            self.metronome.add(self._tick, lambda failure: None)

    def _tick(self, now: float, due: int) -> None:
        """The tick of a call."""

    def calls_end(self) -> None:
        self.metronome.remove(self._tick)

    def passes(self, seconds: float, share: float = 0.0) -> None:
        """Let time pass while the reactor does nothing."""
        self.used += seconds * share
        self.clock.advance(seconds)

    def runs(self, seconds: float, share: float) -> None:
        """Let time pass with everything done when it is due."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            now = self.clock.seconds()
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            self.passes(min(due, default=now + PERIOD_SECONDS) - now, share)

    def lags(self, seconds: float, late: float, share: float = 0.5) -> None:
        """Let time pass with reactor turns so long that each tick is late."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.passes(PERIOD_SECONDS + late, share)


class LoadTests(SynchronousTestCase):
    def test_a_healthy_process_takes_calls(self) -> None:
        process = Process()
        process.runs(10, 0.8)
        self.assertIsNone(process.load.fault())
        self.assertLess(process.load.late_seconds, 0.001)
        self.assertLess(abs(process.load.cpu - 0.8), 0.01)

    def test_a_beat_that_stays_late_is_an_overload(self) -> None:
        process = Process()
        process.lags(3, 0.09)
        self.assertIn("late", process.load.fault() or "")

    def test_a_core_that_stays_busy_is_an_overload(self) -> None:
        process = Process()
        process.runs(3, 0.97)
        fault = process.load.fault() or ""
        self.assertIn("of a core", fault)
        self.assertIn("max_cpu", fault)

    @settings(max_examples=60, deadline=None)
    @given(
        before=st.floats(0, 0.7),
        stop=st.floats(0.1, 3600),
        share=st.sampled_from([0.0, 0.0001]),
        catches_up=st.integers(0, 5),
        has_calls=st.booleans(),
    )
    def test_a_process_that_was_stopped_takes_calls_at_once(
        self,
        before: float,
        stop: float,
        share: float,
        catches_up: int,
        has_calls: bool,
    ) -> None:
        process = Process(has_calls)
        process.runs(5, before)
        process.passes(stop, share)
        self.assertIsNone(process.load.fault())
        for _ in range(catches_up):
            process.passes(0.04, 1.0)
            self.assertIsNone(process.load.fault())

    @settings(max_examples=60, deadline=None)
    @given(before=st.floats(0, 0.7), pause=st.floats(0.02, 0.5))
    def test_one_long_garbage_collection_refuses_no_call(
        self, before: float, pause: float
    ) -> None:
        process = Process()
        process.runs(5, before)
        process.passes(pause, 1.0)
        self.assertIsNone(process.load.fault())
        process.runs(1, before)
        self.assertIsNone(process.load.fault())

    #: (duration, (share of a core, lateness of each tick in seconds)).
    _PATTERN = st.lists(
        st.tuples(st.floats(0.02, 4), st.floats(0, 1.5), st.floats(0, 0.4)),
        max_size=6,
    )

    @settings(max_examples=50, deadline=None)
    @given(pattern=_PATTERN, calls=st.integers(0, 400), goes_on=st.booleans())
    def test_an_overload_is_over_soon_after_its_cause(
        self,
        pattern: Iterable[tuple[float, float, float]],
        calls: int,
        goes_on: bool,
    ) -> None:
        process = Process()
        for seconds, share, late in pattern:
            process.lags(seconds, late, share)
            process.load.fault()
        for _ in range(calls):
            process.load.call_began()
        if goes_on:
            process.runs(HOLD_SECONDS + 8, 0.3)
        else:
            process.calls_end()
            process.passes(HOLD_SECONDS + 8)
        self.assertIsNone(process.load.fault())

    @settings(max_examples=30, deadline=None)
    @given(
        wobble=st.lists(st.floats(0.76, 0.99), min_size=10, max_size=30),
        step=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    )
    def test_it_does_not_oscillate_around_the_limit(
        self, wobble: list[float], step: float
    ) -> None:
        process = Process()
        process.runs(4, 0.99)
        for share in wobble:
            self.assertIsNotNone(process.load.fault())
            process.runs(step, share)

    @settings(max_examples=60, deadline=None)
    @given(
        shares=st.lists(st.floats(0, 1.3), min_size=20, max_size=80),
    )
    def test_an_overload_is_held_for_its_minimum_time(
        self, shares: list[float]
    ) -> None:
        process = Process()
        was, began = False, 0.0
        for share in shares:
            for _ in range(10):
                process.passes(PERIOD_SECONDS, share)
                is_too_much = process.load.fault() is not None
                if is_too_much and not was:
                    began = process.clock.seconds()
                if was and not is_too_much:
                    held = process.clock.seconds() - began
                    self.assertGreater(held, HOLD_SECONDS - 0.001)
                was = is_too_much

    def test_many_calls_at_once_are_an_overload_before_their_load_shows(self) -> None:
        process = Process()
        process.runs(5, 0.6)
        taken = 0
        while process.load.fault() is None:
            process.load.call_began()
            taken += 1
        self.assertTrue(30 < taken < 120, taken)
        self.assertIn("begin at once", process.load.fault() or "")
        process.runs(3, 0.6)
        self.assertIsNone(process.load.fault())
