"""However often the process stalls, audio in real time is on time again soon after."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.media.test_pump import PumpTestCase

_FRAME = 0.02

#: The beginning of each, counted from the end of the one before, and its length.
_Spans = list[tuple[float, float]]


class StarvedTestCase(PumpTestCase):
    """The process, or the agent's connection, stalls now and then."""

    def begin(self, *, buffers: bool, reads_first: float, seed: int) -> None:
        """
        @param reads_first: how often audio that came meanwhile is read before the beat.
        """
        self.buffers = buffers
        self.setUp()
        self.pump.join(self.agent)
        self.rng = random.Random(seed)
        self.reads_first = reads_first
        self.beats = 0
        self.comes: list[tuple[float, bytes]] = []

    def say(self, pieces: list[tuple[float, bytes]], holds: _Spans) -> None:
        """
        @param pieces: audio by the time at which it was sent.
        @param holds: stalls of the connection.  What was sent in one comes at its end.
        """
        came = 0.0
        for at, audio in pieces:
            came = max(came, _after(holds, at))
            self.comes.append((came, audio))
        self.comes.reverse()

    def go_on(self, until: float, stops: _Spans) -> float:
        """@return: the least audio that waited in the last second."""
        least = 99.0
        now = self.clock.seconds()
        while now < until:
            beat_at = (self.beats + 1) * _FRAME
            comes_at = self.comes[-1][0] if self.comes else 1e9
            at = max(now, min(beat_at, comes_at))
            free_at = _after(stops, at)
            self.clock.advance(max(0.0, free_at - now))
            now = self.clock.seconds()
            if free_at == at:
                reads = comes_at <= beat_at
            else:
                reads = self.rng.random() < self.reads_first
            if reads:
                self.read(now)
            if beat_at <= now + 1e-9:
                due = int(now / _FRAME + 1e-6) - self.beats
                self.beats += due
                self.pump.tick(now, due)
                self.read(now)
            if now > until - 1.0:
                least = min(least, self.pump.queued_seconds(now))
        return least

    def read(self, now: float) -> None:
        while self.comes and self.comes[-1][0] <= now + 1e-9:
            self.speak("i1", self.comes.pop()[1])


def _after(spans: _Spans, at: float) -> float:
    for start, length in spans:
        if start < at < start + length:
            return start + length
    return at


def _spaced(start: float, spans: _Spans) -> _Spans:
    found = []
    for between, length in spans:
        found.append((start + between, length))
        start += between + length
    return found


#: Stalls: a few random ones, or the same one repeated.
_STOPS = st.one_of(
    st.lists(st.tuples(st.floats(0, 1.5), st.floats(0.02, 3)), max_size=5),
    st.builds(
        lambda span, times: [span] * times,
        st.tuples(st.floats(0.02, 1), st.floats(0.02, 0.6)),
        st.integers(5, 15),
    ),
)


class AtPaceTests(StarvedTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        st.booleans(),
        st.sampled_from((1, 2, 5, 10, 13, 20, 25, 40, 50)),
        st.sampled_from((0.0, 0.005, 0.03)),
        _STOPS,
        _STOPS,
        st.sampled_from((0.0, 0.5, 1.0)),
        st.integers(0, 2**32),
    )
    def test_two_seconds_after_any_stalls_the_queue_is_as_short_as_before(
        self,
        buffers: bool,
        frames: int,
        uneven: float,
        stops: _Spans,
        holds: _Spans,
        reads_first: float,
        seed: int,
    ) -> None:
        """
        @param frames: in a piece, which is sent when it was said.  After a long piece
            three more may have to come.
        """
        self.begin(buffers=buffers, reads_first=reads_first, seed=seed)
        spoken = 5 * frames * _FRAME + 1.0
        ours, links = _spaced(spoken, stops), _spaced(spoken, holds[:5])
        over = max(sum(span) for span in [(spoken, 0.0), *ours[-1:], *links[-1:]])
        quiet = 2.0 + (3 * frames * _FRAME if frames > 15 else 0.0)
        count = int((over + quiet + 2) / _FRAME / frames)
        rng = random.Random(seed)
        self.say(
            [
                ((n + 1) * frames * _FRAME + uneven * rng.random(), bytes(160 * frames))
                for n in range(count)
            ],
            links,
        )
        before = self.go_on(spoken, [])
        self.go_on(over + quiet, ours)
        most = before + 4 * _FRAME + uneven
        self.assertLessEqual(self.go_on(over + quiet + 1.1, []), most + 1e-6)

    @settings(max_examples=20, deadline=None)
    # All beats are late, or all but the first.
    @example(1, 0.5, 0.0, 1.0, 1)
    @example(1, 0.5, 0.0, 0.0, 0)
    @example(1, 0.32, 0.0, 1.0, 1)
    @given(
        st.sampled_from((1, 5, 10)),
        st.floats(0.12, 0.6) | st.integers(6, 30).map(lambda beats: beats * _FRAME),
        st.just(0.0) | st.floats(0, 0.4),
        st.sampled_from((0.0, 0.5, 1.0)),
        st.integers(0, 2**32),
    )
    def test_repeated_stalls_do_not_make_the_queue_grow(
        self, frames: int, stop: float, between: float, reads_first: float, seed: int
    ) -> None:
        """Between the stalls a piece comes in time."""
        self.begin(buffers=False, reads_first=reads_first, seed=seed)
        stops = _spaced(2.0, [(frames * _FRAME + between, stop)] * 60)
        over = sum(stops[-1])
        self.say(
            [
                ((n + 1) * frames * _FRAME, bytes(160 * frames))
                for n in range(int(over / _FRAME / frames))
            ],
            [],
        )
        least = self.go_on(over, stops)
        self.assertLessEqual(least, 2.0)


class AheadTests(StarvedTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        st.booleans(),
        st.sampled_from((1, 2, 5, 10, 20, 50)),
        st.sampled_from((1.25, 1.5, 3.0, 10.0, 1000.0)),
        st.floats(0.5, 10.0),
        _STOPS,
        _STOPS,
        st.sampled_from((0.0, 0.5, 1.0)),
        st.integers(0, 2**32),
    )
    def test_no_audio_is_lost_in_any_stalls(
        self,
        buffers: bool,
        frames: int,
        pace: float,
        seconds: float,
        stops: _Spans,
        holds: _Spans,
        reads_first: float,
        seed: int,
    ) -> None:
        """Between stalls of the process there is at least the duration of a piece."""
        self.begin(buffers=buffers, reads_first=reads_first, seed=seed)
        count = int(seconds / _FRAME / frames) + 1
        rng = random.Random(seed)
        said = [rng.randbytes(160 * frames) for _ in range(count)]
        self.say(
            [(0.1 + n * frames * _FRAME / pace, said[n]) for n in range(count)],
            _spaced(0.1, holds[:5]),
        )
        free = frames * _FRAME
        ours = _spaced(0.1, [(free + between, stop) for between, stop in stops])
        end = seconds + 2 + sum(sum(span) + free for span in [*stops, *holds])
        self.go_on(end, ours)
        self.assertEqual(self.leg.played, b"".join(said))
