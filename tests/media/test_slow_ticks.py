"""
A call with slow ticks where they will do, compared with one that has none: everything
comes at its due time.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.media.metronome import SLOW_BEATS, Metronome, Ticked
from chime_gateway.media.pump import MediaPump
from chime_gateway.media.stats import MediaStats
from tests.support.fakes import Log, RecordingAgent, RecordingLeg

FRAME = bytes(range(160))

#: (what, how many, ms until then): frames of the caller or of the agent, each 20 ms
#: or at once, or delayed and then all together; a silence; a stall of the process.
steps = st.lists(
    st.tuples(
        st.sampled_from(("talk", "at_pace", "at_once", "held_up", "silence", "stop")),
        st.integers(1, 40),
    ),
    max_size=8,
)


class _Side:
    """
    A pump with its ticks.

    @ivar log: what the pump did, with times in ms.
    """

    def __init__(self, may_be_slow: bool) -> None:
        self.clock = Clock()
        self.beats = 0
        self.looks: list[float] = []
        self.log: list[tuple[int, str, int]] = []
        told: Log = []
        self.leg = RecordingLeg(told)
        self.agent = RecordingAgent(told)
        metronome = Metronome(self.clock)
        self.pump = pump = MediaPump(
            self.leg,
            MediaStats(),
            self.clock.seconds,
            keep_early=True,
            max_queue_seconds=100.0,
            want_beat=lambda: self.beat.want(),
        )

        def each(now: float, due: int) -> bool:
            self.beats += 1
            return pump.tick(now, due) and may_be_slow

        self.beat = Ticked(metronome, may_be_slow)
        self.beat.start(each, self.looks.append, lambda _: None)
        pump.join(self.agent)
        self.told = told
        self.is_from_caller = False

    def write(self) -> None:
        """Return what was done in this turn."""
        for entry in self.told:
            self.log.append((round(self.clock.seconds() * 1000), *_short(entry)))
        del self.told[:]
        sent = len(self.agent.audio)
        if sent:
            self.log.append((round(self.clock.seconds() * 1000), "to agent", sent))
            self.agent.audio = b""

    def run(self, ms: int) -> None:
        for _ in range(ms):
            self.clock.advance(0.001)
            self.write()


def _short(entry: tuple[Any, ...]) -> tuple[str, int]:
    last = entry[-1]
    return entry[0], len(last) if isinstance(last, bytes | str) else 0


def run(may_be_slow: bool, schedule: list[tuple[str, int]]) -> _Side:
    side = _Side(may_be_slow)
    side.run(7)
    for what, count in schedule:
        if what == "talk":
            for _ in range(count):
                side.pump.caller_audio(FRAME)
                side.run(20)
        elif what == "at_pace":
            for _ in range(count):
                side.pump.agent_audio("r", "i", 0, FRAME)
                side.pump.caller_audio(FRAME)
                side.run(20)
        elif what == "held_up":
            side.pump.agent_audio("r", "i", 0, FRAME)
            for _ in range(count):
                side.pump.caller_audio(FRAME)
                side.run(20)
            for _ in range(count):
                side.pump.agent_audio("r", "i", 0, FRAME)
            side.write()
        elif what == "at_once":
            side.pump.agent_audio("r", "i", 0, FRAME * count)
            side.write()
        elif what == "silence":
            side.run(count * 20)
        else:
            side.clock.advance(count * 0.02)
            side.write()
    side.run(400)
    return side


class SlowTickTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(steps)
    def test_everything_comes_when_it_would_with_fast_ticks(
        self, schedule: list[tuple[str, int]]
    ) -> None:
        slow, fast = run(True, schedule), run(False, schedule)
        self.assertEqual(slow.log, fast.log)

    def test_ticks_are_slow_while_both_sides_talk(self) -> None:
        schedule = [("at_once", 200), ("talk", 100)]
        self.assertLess(run(True, schedule).beats, run(False, schedule).beats / 2)


#: Beats until the next tick (more than one: it is late), which of the call's ticks are
#: slow from then on, and whether late audio needs each beat.
ticks = st.lists(
    st.tuples(st.integers(1, 12), st.booleans(), st.booleans()), max_size=40
)


class LookTests(SynchronousTestCase):
    """Checks that need not be exact to the frame."""

    def _looks(
        self, start: int, schedule: list[tuple[int, bool, bool]]
    ) -> list[tuple[int, int, bool]]:
        """Return each tick: its beat, the beats due, and whether there was a look."""
        clock = Clock()
        metronome = Metronome(clock)
        metronome.add(lambda now, due: None, lambda _: None)
        for _ in range(start):
            clock.advance(0.02)
        done: list[tuple[int, int, bool]] = []
        is_slow = False

        def each(now: float, due: int) -> bool:
            done.append((round(now / 0.02), due, False))
            return is_slow

        def look(now: float) -> None:
            done[-1] = (*done[-1][:2], True)

        beat = Ticked(metronome, False)
        beat.start(each, look, self.fail)
        clock.advance(0.001)  # so that rounding errors make no tick late
        for beats, is_slow, wants in schedule:  # noqa: B007
            if wants:
                beat.want()
            clock.advance(beats * 0.02)
        return done

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 7), ticks)
    def test_each_call_keeps_its_fifth_beat_after_late_ones(
        self, start: int, schedule: list[tuple[int, bool, bool]]
    ) -> None:
        fast = [(beats, False, wants) for beats, _, wants in schedule]
        done = self._looks(start, fast)
        self.assertEqual(len(done), len(fast))
        for at, due, is_look in done:
            passed = range(at - due + 1, at + 1)
            is_due = any((beat - start) % SLOW_BEATS == 0 for beat in passed)
            self.assertEqual(is_look, is_due, (at, due, done))

    @settings(max_examples=100, deadline=None)
    @given(ticks)
    def test_no_call_is_without_a_look_for_more_than_five_beats(
        self, schedule: list[tuple[int, bool, bool]]
    ) -> None:
        settled = [(1, False, False)] * 2 * SLOW_BEATS
        looked_at = 0
        for at, due, is_look in self._looks(0, schedule + settled):
            first = at - due + 1
            self.assertLess(first - looked_at, SLOW_BEATS + 1)
            looked_at = at if is_look else looked_at
        self.assertTrue(looked_at or not schedule)
