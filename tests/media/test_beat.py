"""How long a frame of an agent in real time waits for its beat."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chime_gateway.media.stats import MediaStats
from tests.media.test_catch_up import StarvedTestCase
from tests.support.rtp_stream import speech

_FRAME = 0.02
_SECONDS = 6.0

#: By then the agent is known to speak in real time.
_SETTLED = 1.5


class BeatTestCase(StarvedTestCase):
    """Frames of an echo, with random delays."""

    buffers = False
    stats: MediaStats

    def echo(self, arrivals: list[float]) -> tuple[float, list[float]]:
        """
        @return: the mean waiting time of a frame (by Little's law), in ms, and
            how many frames waited after each beat, once it had settled.
        """
        self.setUp()
        self.pump.join(self.agent)
        said = speech(1.0)
        area, behind = 0.0, list[float]()
        came, before = 0, _SETTLED
        beats = [beat * _FRAME for beat in range(1, int(_SECONDS / _FRAME))]
        events = sorted(
            [(at, True) for at in arrivals if at < _SECONDS - _FRAME]
            + [(at, False) for at in beats]
        )
        for at, is_frame in events:
            self.clock.advance(max(0.0, at - self.clock.seconds()))
            waiting = self.waiting(came)
            if at > _SETTLED:
                area += waiting * (at - before)
                before = at
            if is_frame:
                part = came % 50 * 160
                self.speak("i1", said[part : part + 160])
                came += 1
            else:
                self.pump.tick(at, 1)
                if at > _SETTLED:
                    behind.append(self.waiting(came))
        return area / (before - _SETTLED) * _FRAME * 1000, behind

    def waiting(self, came: int) -> float:
        return came - self.stats.frames_out - self.stats.dropped["overdue"]


def sent(
    phase: float, jitter: float, lates: dict[int, float], seed: int
) -> list[float]:
    """Return the times of arrival of frames, in order, each with a random delay."""
    rng = random.Random(seed)
    arrivals, last = [], 0.0
    for number in range(int(_SECONDS / _FRAME)):
        at = number * _FRAME + phase + rng.random() * jitter + lates.get(number, 0.0)
        last = max(last + 1e-6, at)
        arrivals.append(last)
    return arrivals


class BeatTests(BeatTestCase):
    @settings(max_examples=25, deadline=None)
    @given(
        st.floats(0.001, 0.018),
        st.dictionaries(st.integers(90, 270), st.floats(0.001, 0.035), max_size=4),
        st.integers(0, 2**32),
    )
    def test_a_late_frame_does_not_delay_all_later_ones(
        self, phase: float, lates: dict[int, float], seed: int
    ) -> None:
        _, behind = self.echo(sent(phase, 0.001, lates, seed))
        first = int(_SETTLED / _FRAME)
        # 0.4 s after each late frame, no frame waits for a second beat.
        for number, waiting in enumerate(behind, first + 1):
            if all(not 0 <= number - late < 20 for late in lates):
                self.assertEqual(waiting, 0, (number, lates))

    def test_a_frame_waits_for_half_a_beat_on_average(self) -> None:
        rng = random.Random(27)
        means = []
        for seed in range(24):
            phase = (seed + 0.5) / 24 * _FRAME
            lates = {n: rng.uniform(0.005, 0.025) for n in rng.sample(range(300), 3)}
            means.append(self.echo(sent(phase, 0.001, lates, seed))[0])
        self.assertLess(sum(means) / len(means), 12.0)

    @settings(max_examples=25, deadline=None)
    @example(0.005, 0.005741906831900166, 16707)
    @given(
        st.floats(0.0005, 0.0195),
        st.floats(0.001, 0.006),
        st.integers(0, 2**32),
    )
    def test_a_queue_that_jitter_needs_is_not_removed(
        self, distance: float, jitter: float, seed: int
    ) -> None:
        """
        At most 3 in 100 frames are lost to attempts at less delay: where few frames
        miss the beat, the window of observation is often shortened again.
        """
        self.echo(sent(_FRAME - distance, jitter, {}, seed))
        self.assertLessEqual(self.stats.underruns, 3 * _SECONDS)
        self.assertLessEqual(self.stats.dropped["overdue"], 3 * _SECONDS)

    @settings(max_examples=25, deadline=None)
    # Pauses take its lead, and 0.5 s later the lead is what it was before them.
    @example(2, 1.25, {5: 0.0625, 7: 0.125})
    @example(2, 1.2, {5: 0.0625, 8: 0.0625})
    @example(2, 1.2, {8: 0.25, 39: 0.0625})
    @example(2, 1.25, {13: 0.1, 27: 0.25})
    @example(5, 1.5, {6: 0.125, 10: 0.25})
    @example(10, 1.2, {7: 0.11, 8: 0.1, 13: 0.25, 17: 0.1})
    @given(
        st.sampled_from((2, 5, 10)),
        st.floats(1.2, 4.0),
        st.dictionaries(st.integers(5, 40), st.floats(0.1, 0.6), max_size=3),
    )
    def test_no_audio_of_an_agent_that_is_ahead_is_left_out(
        self, frames: int, pace: float, stops: dict[int, float]
    ) -> None:
        """
        @param stops: pauses of the agent.  Two of 50 ms, or three of 100 ms, can hold
            it within 50 ms of real time for 0.72 s.  Then nothing tells it from an
            agent in real time with jitter.
        """
        self.begin(buffers=False, reads_first=1.0, seed=0)
        said = speech(1.0)
        at, comes = 0.0, []
        for number in range(60):
            at += frames * _FRAME / pace + stops.get(number, 0.0)
            comes.append((at, said[: frames * 160]))
        self.say(comes, [])
        self.go_on(at + 1.0, [])
        self.assertEqual(self.stats.dropped["overdue"], 0)
