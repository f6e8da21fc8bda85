"""What a caller said last is kept for the next session: all of it, once, in order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.line.succession.caller_audio import (
    BEFORE_SECONDS,
    LOUD_SECONDS,
    MOST_SECONDS,
    CallerAudio,
)
from chime_gateway.audio import L16_24000, PCMA, PCMU, Codec

FRAMES_PER_SECOND = 50
BEFORE = round(BEFORE_SECONDS * FRAMES_PER_SECOND)
MOST = round(MOST_SECONDS * FRAMES_PER_SECOND)

#: Events between two frames.
EVENTS = ("began", "stopped", "settle", "hold", "all", "loud", "little", "take")

#: How much to keep, by the session's state.
KEPT = {"all": MOST_SECONDS, "loud": LOUD_SECONDS, "little": BEFORE_SECONDS}

STEPS = st.lists(
    st.tuples(st.integers(0, 120), st.sampled_from(EVENTS)), min_size=1, max_size=12
)


def frame(number: int) -> bytes:
    """Return a frame that differs from its neighbours."""
    return number.to_bytes(2, "big") * 80


def numbers(audio: bytes) -> list[int]:
    return [
        int.from_bytes(audio[at : at + 2], "big")
        for at in range(0, len(audio), len(frame(0)))
    ]


class CallerAudioTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(STEPS)
    def test_it_is_the_end_of_the_audio_without_gaps(
        self, steps: list[tuple[int, str]]
    ) -> None:
        kept = CallerAudio(PCMU)
        kept.keep(BEFORE_SECONDS)
        count = dropped = 0
        # The frame from which on none may be lost.
        turn: int | None = None
        held: int | None = None
        for frames, event in steps:
            for _ in range(frames):
                kept.audio.extend(frame(count))
                dropped += kept.trim()
                count += 1
            if held is not None and event != "take":
                continue  # there is no session to report it
            if event == "began":
                turn = max(0, count - BEFORE)
                kept.began("turn")
            elif event == "settle":
                turn = None
                kept.settle()
            elif event == "hold":
                held = max(0, count - BEFORE)
                kept.hold()
            elif event in KEPT:
                kept.keep(KEPT[event])
            elif event != "take":
                getattr(kept, event)()
            if event != "take":
                continue
            found = numbers(kept.take(PCMU))
            self.assertEqual(found, list(range(count - len(found), count)))
            least = min(x for x in (turn, held, count) if x is not None)
            if event == "take" and least < count:
                self.assertGreaterEqual(
                    len(found), min(count - least, MOST, count), (turn, held)
                )
            self.assertLessEqual(len(found), MOST)
            held = None
            kept.keep(BEFORE_SECONDS)
        self.assertEqual(dropped % len(frame(0)), 0)

    @given(st.integers(0, 3 * MOST), st.integers(0, MOST))
    def test_dropped_audio_is_counted_while_there_is_no_session(
        self, held: int, before: int
    ) -> None:
        kept = CallerAudio(PCMU)
        kept.keep(BEFORE_SECONDS)
        for n in range(before):
            kept.audio.extend(frame(n))
            self.assertEqual(kept.trim(), 0)
        there = min(before, BEFORE)
        kept.hold()
        dropped = 0
        for n in range(held):
            kept.audio.extend(frame(n))
            if n % 5 == 0 or n == held - 1:
                dropped += kept.trim() // len(frame(0))
        self.assertEqual(dropped, max(0, there + held - MOST))
        self.assertEqual(len(numbers(kept.take(PCMU))) + dropped, there + held)

    @given(
        st.sampled_from((PCMU, PCMA, L16_24000)),
        st.sampled_from((PCMU, PCMA, L16_24000)),
        st.lists(st.integers(1, 60), min_size=1, max_size=5),
        st.booleans(),
    )
    def test_another_codec_has_the_same_duration_in_whole_samples(
        self, first: Codec, second: Codec, pieces: list[int], is_stopped: bool
    ) -> None:
        kept = CallerAudio(first)
        kept.began("turn")
        frames = 0
        codec = first
        for piece in pieces:
            for _ in range(piece):
                kept.audio.extend(codec.silence(codec.frame_bytes))
            frames += piece
            if is_stopped:
                kept.stopped()
            codec = second if codec is first else first
            kept.trim()
            audio = kept.take(codec)
            self.assertEqual(len(audio) % codec.sample_bytes, 0)
            seconds = len(audio) / codec.bytes_per_second
            self.assertLessEqual(abs(seconds - min(frames, MOST) / 50), 0.02)

    def test_loudness_is_of_the_audio_since_the_last_query(self) -> None:
        loud: Any = b"\x00" * 160
        kept = CallerAudio(PCMU)
        kept.audio.extend(loud)
        kept.trim()
        self.assertTrue(kept.was_loud())
        self.assertFalse(kept.was_loud())
        for _ in range(5):
            kept.audio.extend(b"\xff" * 160)
            kept.trim()
        self.assertFalse(kept.was_loud())

    def test_a_settled_turn_is_not_kept(self) -> None:
        kept = CallerAudio(PCMU)
        kept.keep(BEFORE_SECONDS)
        kept.began("turn")
        for n in range(100):
            kept.audio.extend(frame(n))
        kept.stopped()
        for n in range(100, 110):
            kept.audio.extend(frame(n))
        kept.settle()
        self.assertEqual(kept.turn, "")
        self.assertEqual(numbers(kept.take(PCMU)), list(range(100, 110)))
