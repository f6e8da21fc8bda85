"""A queue that is late becomes short again; one that is ahead stays as it is."""

from __future__ import annotations

import random
from heapq import heappop, heappush

from hypothesis import given, settings
from hypothesis import strategies as st

from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone
from tests.media.test_pump import FRAME, PumpTestCase

_FRAME = 0.02

#: How often the queue is measured.
_STEP = 0.005


class LateQueueTests(PumpTestCase):
    """The agent speaks in real time: an echo, a person."""

    def begin(
        self, *, buffers: bool, uneven: float = 0.0, pace: float = 1e6, seed: int = 0
    ) -> None:
        """
        @param pace: the speed at which delayed audio comes, 1 being real time.
        """
        self.buffers = buffers
        self.pace = pace
        self.may_come = 0.0
        self.heard_at = 0.0
        self.ear_dry_at = 0.0
        self.paused = 0.0
        self.setUp()
        self.pump.join(self.agent)
        self.rng = random.Random(seed)
        self.uneven = uneven
        self.said = 0
        self.beats = 0
        self.next_at = self.comes_at()

    def comes_at(self) -> float:
        uneven = self.uneven * self.rng.random()
        return (self.said + 0.3) * _FRAME + self.paused + uneven

    def stop(self, seconds: float, *, reads_first: bool = False) -> float:
        """
        Stall for some time, then catch up with the clock.

        @return: the seconds of audio that wait then.
        """
        self.clock.advance(seconds)
        if reads_first:
            self.hear()
        self.beat()
        self.hear()
        return self.pump.queued_seconds(self.clock.seconds())

    def hear(self) -> None:
        now = self.clock.seconds()
        came = (now - self.heard_at) / _FRAME * self.pace
        self.may_come = min(self.may_come + came, 3 + self.pace)
        self.heard_at = now
        while self.next_at <= now and self.may_come >= 1:
            self.may_come -= 1
            self.said += 1
            self.speak("i1", self.rng.randbytes(160))
            self.next_at = max(self.next_at, self.comes_at())

    def beat(self) -> None:
        due = int(self.clock.seconds() / _FRAME + 1e-6) - self.beats
        if due > 0:
            self.beats += due
            before = len(self.leg.played)
            self.pump.tick(self.clock.seconds(), due)
            played = (len(self.leg.played) - before) // 160
            dry_at = max(self.clock.seconds(), self.ear_dry_at)
            self.ear_dry_at = dry_at + played * _FRAME

    def pass_time(self, seconds: float) -> float:
        """@return: the least audio that waited in the last second."""
        least = 99.0
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(_STEP)
            self.hear()
            self.beat()
            if self.clock.seconds() > end - 1.0:
                queued = self.pump.queued_seconds(self.clock.seconds())
                least = min(least, queued)
        return least

    @settings(max_examples=40, deadline=None)
    @given(
        st.booleans(),
        st.lists(
            st.tuples(st.floats(0, 5), st.floats(0, 1.5), st.booleans()),
            min_size=1,
            max_size=4,
        ),
        st.sampled_from((0.0, 0.005, 0.03)),
        st.sampled_from((2.0, 6.0, 20.0, 1e6)),
        st.integers(0, 2**32),
    )
    def test_two_seconds_after_any_stalls_it_is_as_short_as_before(
        self,
        buffers: bool,
        stops: list[tuple[float, float, bool]],
        uneven: float,
        pace: float,
        seed: int,
    ) -> None:
        self.begin(buffers=buffers, uneven=uneven, pace=pace, seed=seed)
        before = self.pass_time(2.0)
        for seconds, between, reads_first in stops:
            self.stop(seconds, reads_first=reads_first)
            self.pass_time(between)
        # By then all audio has come.
        self.pass_time(sum(seconds for seconds, _, _ in stops) / (pace - 1))
        self.pass_time(max(0.0, 2.0 - stops[-1][1]))
        # From here on it is not late.  The reserve for uneven arrival is put into a
        # buffer as it comes.
        most = before + (4 if buffers else 1) * _FRAME + uneven + _STEP
        self.assertLessEqual(self.pass_time(1.0), most + 1e-6)

    @settings(max_examples=60, deadline=None)
    @given(
        st.booleans(),
        st.floats(0, 0.3),
        st.floats(0.0, 1.5),
        st.booleans(),
        st.floats(0.2, 3),
        st.sampled_from((0.0, 0.005, 0.03)),
        st.integers(0, 2**32),
    )
    def test_an_agent_that_lost_some_time_still_counts_as_real_time(
        self,
        buffers: bool,
        paused: float,
        between: float,
        is_before: bool,
        stop: float,
        uneven: float,
        seed: int,
    ) -> None:
        """@param paused: seconds lost in the network, or in a pause."""
        self.begin(buffers=buffers, uneven=uneven, seed=seed)
        before = self.pass_time(2.0)
        if is_before:
            self.paused = paused
            self.next_at += paused
            self.pass_time(between)
        self.stop(stop)
        if not is_before:
            self.pass_time(between)
            self.paused = paused
            self.next_at += paused
        self.pass_time(3.0)
        most = before + (4 if buffers else 1) * _FRAME + uneven + _STEP
        self.assertLessEqual(self.pass_time(1.0), most + 1e-6)

    @settings(max_examples=20, deadline=None)
    @given(
        st.booleans(),
        st.floats(0, 1),
        st.sampled_from((0.0, 0.005, 0.03)),
        st.sampled_from((1.05, 1.3, 10.0)),
        st.integers(0, 2**32),
    )
    def test_audio_delayed_by_the_network_is_late_however_slowly_it_comes(
        self, buffers: bool, seconds: float, uneven: float, pace: float, seed: int
    ) -> None:
        self.begin(buffers=buffers, uneven=uneven, pace=pace, seed=seed)
        before = self.pass_time(2.0)
        self.next_at += seconds
        self.pass_time(seconds + seconds / (pace - 1) + 2.0)
        most = before + (4 if buffers else 1) * _FRAME + uneven + _STEP
        self.assertLessEqual(self.pass_time(1.0), most + 1e-6)

    @settings(max_examples=20, deadline=None)
    @given(
        st.floats(0.15, 4),
        st.lists(st.floats(0.0, 0.119), min_size=1, max_size=8),
    )
    def test_late_beats_after_a_stall_do_not_fill_the_listeners_buffer(
        self, stop: float, beats: list[float]
    ) -> None:
        """The listener plays what it gets, as soon as its buffer is empty."""
        self.begin(buffers=False)
        self.pass_time(2.0)
        self.stop(stop)
        for late in beats:
            self.clock.advance(_FRAME + late)
            self.hear()
            self.beat()
        self.pass_time(2.0)
        waits = self.ear_dry_at - self.clock.seconds()
        self.assertLessEqual(waits, 1.5 * _FRAME)

    def test_frames_that_are_left_out_are_counted(self) -> None:
        for buffers in (False, True):
            self.begin(buffers=buffers)
            self.pass_time(1.0)
            waits = self.stop(3.0)
            self.assertGreater(waits, 2.8)
            self.pass_time(2.0)
            gone = self.stats.dropped["overdue"]
            self.assertGreater(gone, 140)
            queued = self.pump.queued_seconds(self.clock.seconds()) / _FRAME
            heard = len(self.leg.played) // 160
            self.assertLessEqual(abs(self.said - gone - heard), max(2.0, queued + 1))

    def test_a_surplus_frame_is_removed_within_two_seconds(self) -> None:
        self.begin(buffers=False)
        self.pass_time(1.0)
        self.next_at += 0.06  # the network stalls
        self.pass_time(0.08)
        self.assertGreater(self.pump.queued_seconds(self.clock.seconds()), 0.05)
        self.assertLessEqual(self.pass_time(1.8), _FRAME)
        self.assertIn(self.stats.dropped["overdue"], (2, 3, 4))


class AtPaceTests(PumpTestCase):
    """The agent sends a frame every 20 ms, in real time: none is late."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.floats(0, 0.02),
        st.sampled_from((0.0, 0.001, 0.02, 0.04)),
        st.lists(st.tuples(st.integers(1, 100), st.floats(0, 0.5)), max_size=5),
        st.sampled_from((0.0, 0.001, 0.02, 0.1, 0.3)),
        st.integers(0, 2**32),
    )
    def test_each_frame_goes_out_as_it_comes_and_none_is_overdue(
        self,
        phase: float,
        uneven: float,
        pauses: list[tuple[int, float]],
        marked: float,
        seed: int,
    ) -> None:
        """
        @param uneven: the maximum delay of a frame against the first.
        @param pauses: of the agent, which then goes on in real time.
        @param marked: the seconds after which each mark is back.
        """
        self.setUp()
        self.pump.join(self.agent)
        rng = random.Random(seed)
        start = comes_at = phase
        events: list[tuple[float, int, str]] = []
        for n in range(250):
            start += sum(pause for at, pause in pauses if at == n)
            comes_at = max(comes_at, start + n * _FRAME + uneven * rng.random())
            heappush(events, (comes_at, 1, ""))
        for n in range(1, int(comes_at / _FRAME)):
            heappush(events, (n * _FRAME, 0, ""))
        said = marks = 0
        while events:
            at, frames, mark = heappop(events)
            self.clock.advance(max(0.0, at - self.clock.seconds()))
            if mark:
                self.pump.mark_reached(mark, self.clock.seconds())
            elif frames:
                said += 1
                self.speak("i1", FRAME)
                self.assertEqual(len(self.leg.played), 160 * said)
            else:
                self.pump.tick(self.clock.seconds(), 1)
            for _, name in self.entries("leg.mark")[marks:]:
                marks += 1
                heappush(events, (at + marked, 0, name))
        self.assertEqual(self.stats.dropped["overdue"], 0)


class AheadTests(PumpTestCase):
    """The agent speaks faster than real time: none of its audio is late."""

    @settings(max_examples=30, deadline=None)
    @given(
        st.booleans(),
        st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), max_size=4),
        st.sampled_from((1.5, 3.0, 100.0)),
    )
    def test_no_audio_is_lost_whenever_the_process_stalls(
        self, buffers: bool, stops: list[tuple[float, float]], pace: float
    ) -> None:
        self.buffers = buffers
        self.setUp()
        self.pump.join(self.agent)
        said = random.Random(1).randbytes(160 * 400)
        given_out = beats = 0
        due_at = [0.5 + sum(a + b for a, b in stops[:n]) for n in range(len(stops) + 1)]
        lengths = [seconds for seconds, _ in stops] + [0.0]
        while self.clock.seconds() < 40:
            step = 0.02
            if due_at and self.clock.seconds() >= due_at[0]:
                due_at.pop(0)
                step += lengths.pop(0)
            self.clock.advance(step)
            upto = min(400, int(self.clock.seconds() / _FRAME * pace)) * 160
            if upto > given_out:
                self.speak("i1", said[given_out:upto])
                given_out = upto
                if upto == len(said):
                    self.pump.agent_audio_done("i1")
            due = int(self.clock.seconds() / _FRAME + 1e-6) - beats
            if due:
                beats += due
                self.pump.tick(self.clock.seconds(), due)
        self.assertEqual(self.leg.played, said)

    def test_a_steady_tone_has_no_click_where_a_frame_is_left_out(self) -> None:
        self.buffers = False
        self.setUp()
        self.pump.join(self.agent)
        audio = tone(self.codec, 440, 8.0)
        frames = [audio[at : at + 160] for at in range(0, len(audio), 160)]
        for n, frame in enumerate(frames):
            if n not in range(50, 55):
                self.run_for(0.02)
            if n >= 55:
                self.speak("i1", frame)
            elif n == 54:
                self.run_for(0.1)
                self.speak("i1", b"".join(frames[50:55]))
            elif n < 50:
                self.speak("i1", frame)
        self.run_for(0.2)
        self.assertGreater(self.stats.dropped["overdue"], 2)
        heard = decode(self.codec, self.leg.played).astype(float)
        steps = abs(heard[1:] - heard[:-1])
        whole = decode(self.codec, audio).astype(float)
        self.assertLess(steps[200:-400].max(), 1.3 * abs(whole[1:] - whole[:-1]).max())
