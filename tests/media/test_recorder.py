from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_16000, PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.media.recorder import HOLD_SECONDS, Recorder
from tests.support.no_memory import NoMemory

FRAME = 160


def frame(value: int) -> bytes:
    return bytes([value]) * FRAME


class RecorderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.recorder = Recorder(PCMU, 100.0)
        self.caller = b""
        self.agent = b""

    def take(self, now: float, *, is_over: bool = False) -> None:
        caller, agent = self.recorder.take(100.0 + now, is_over=is_over)
        self.assertEqual(len(caller), len(agent))
        self.caller += caller
        self.agent += agent

    def speak(self, first: float, count: int, value: int = 1) -> None:
        """Frames of a caller, each of which arrives when it was spoken."""
        for number in range(count):
            self.recorder.caller(frame(value), 100.0 + first + 0.02 * (number + 1))

    def at(self, track: bytes, seconds: float) -> int:
        return track[round(seconds * 8000)]

    def test_both_sides_are_placed_where_they_were_heard(self) -> None:
        self.speak(0.0, 50)
        self.recorder.agent(frame(2) * 25, 101.5)
        self.speak(1.0, 100, 3)
        self.take(3.0, is_over=True)
        self.assertEqual(len(self.caller), 3 * 8000)
        self.assertEqual(self.at(self.caller, 0.5), 1)
        self.assertEqual(self.at(self.caller, 2.5), 3)
        self.assertEqual(self.agent[: 12000 - 1], b"\xff" * (12000 - 1))
        self.assertEqual(self.agent[12000:16000], frame(2) * 25)
        self.assertEqual(self.at(self.agent, 2.1), 0xFF)

    def test_the_recording_is_a_moment_behind_the_clock(self) -> None:
        self.speak(0.0, 50)
        for _ in range(2):
            self.take(1.0)
            expected = round((1.0 - HOLD_SECONDS) * 8000)
            self.assertApproximates(len(self.caller), expected, 1)

    def test_an_interruption_removes_what_was_not_heard(self) -> None:
        self.recorder.agent(frame(2) * 100, 100.0)
        self.take(0.5)
        # At 0.6 s the caller speaks: 1.4 s of it were not heard.
        self.recorder.cut(round(1.4 * 8000))
        self.recorder.agent(frame(4) * 25, 101.0)
        self.take(2.0, is_over=True)
        self.assertEqual(self.at(self.agent, 0.59), 2)
        self.assertEqual(self.agent[4800:8000], b"\xff" * 3200)
        self.assertEqual(self.at(self.agent, 1.01), 4)

    def test_a_late_beat_leaves_no_gap_between_frames(self) -> None:
        for number in range(10):
            late = 0.015 if number % 3 == 0 else 0.0
            self.recorder.agent(frame(2), 100.0 + number * 0.02 + late)
        self.take(1.0, is_over=True)
        self.assertNotIn(0xFF, self.agent[160:1600])

    def test_a_gap_in_the_callers_audio_is_silence(self) -> None:
        self.speak(0.0, 25)
        self.speak(1.5, 25, 3)
        self.take(2.0, is_over=True)
        self.assertEqual(self.at(self.caller, 0.4), 1)
        self.assertEqual(self.at(self.caller, 1.0), 0xFF)
        self.assertEqual(self.at(self.caller, 1.8), 3)

    def test_audio_sent_faster_than_real_time_is_limited(self) -> None:
        for _ in range(1000):
            self.recorder.caller(frame(1), 100.02)
        self.take(3.0, is_over=True)
        self.assertEqual(len(self.caller), 24000)
        self.assertGreater(self.recorder.dropped_bytes, 900 * FRAME)

    def test_a_pause_is_silence_on_both_sides_and_keeps_the_time(self) -> None:
        self.recorder.agent(frame(2) * 150, 100.0)
        self.speak(0.0, 50)
        self.recorder.pause(101.0)
        self.take(1.1)
        self.speak(1.0, 50)
        self.recorder.resume(102.0)
        self.speak(2.0, 50)
        self.take(3.0, is_over=True)
        for track, value in ((self.caller, 1), (self.agent, 2)):
            self.assertEqual(self.at(track, 0.9), value)
            self.assertEqual(set(track[8000:16000]), {0xFF})
            self.assertEqual(self.at(track, 2.1), value)

    def test_half_samples_do_not_shift_what_follows(self) -> None:
        recorder = Recorder(L16_16000, 0.0)
        sound = tone(L16_16000, 440.0, 1.0)
        at = 0
        for number in range(1, 51):
            upto = min(len(sound), number * 640 + number % 2)
            recorder.caller(sound[at:upto], number * 0.02)
            at = upto
        caller, _ = recorder.take(1.2, is_over=True)
        recorded = np.frombuffer(caller, "<i2")[:16000].astype(float)
        said = np.frombuffer(sound, "<i2").astype(float)
        share = np.dot(recorded[: len(said)], said) / np.dot(said, said)
        self.assertApproximates(share, 1.0, 0.01)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["caller", "agent", "cut", "take", "pause", "resume"]),
                st.floats(0, 0.5),
                st.integers(0, 4000),
            ),
            max_size=60,
        )
    )
    def test_both_tracks_are_always_as_long_as_the_call(
        self, steps: list[tuple[str, float, int]]
    ) -> None:
        recorder = Recorder(PCMU, 0.0)
        now, size = 0.0, 0
        for what, seconds, count in steps:
            now += seconds
            if what == "caller":
                recorder.caller(bytes(count), now)
            elif what == "agent":
                recorder.agent(bytes(count), now)
            elif what == "cut":
                recorder.cut(count)
            elif what == "pause":
                recorder.pause(now)
            elif what == "resume":
                recorder.resume(now)
            else:
                caller, agent = recorder.take(now)
                self.assertEqual(len(caller), len(agent))
                size += len(caller)
        caller, agent = recorder.take(now, is_over=True)
        self.assertEqual(len(caller), len(agent))
        self.assertEqual(size + len(caller), int(now * 8000))

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["caller", "agent", "pause", "resume", "take"]),
                st.floats(0, 0.5),
                st.integers(0, 4000),
                st.integers(0, 8),
            ),
            max_size=40,
        )
    )
    def test_audio_that_could_not_be_taken_without_memory_is_taken_later(
        self, steps: list[tuple[str, float, int, int]]
    ) -> None:
        """Without memory for one function call in a take, as drawn."""
        recorder = Recorder(PCMU, 0.0)
        now, size = 0.0, 0

        def take(is_over: bool = False) -> None:
            nonlocal size
            caller, agent = recorder.take(now, is_over=is_over)
            self.assertEqual(len(caller), len(agent))
            size += len(caller)

        for what, seconds, count, at in steps:
            now += seconds
            if what == "caller":
                recorder.caller(bytes(count), now)
            elif what == "agent":
                recorder.agent(bytes(count), now)
            elif what == "pause":
                recorder.pause(now)
            elif what == "resume":
                recorder.resume(now)
            else:
                NoMemory(at).run(take)
        take(is_over=True)
        self.assertEqual(size, int(now * 8000))
