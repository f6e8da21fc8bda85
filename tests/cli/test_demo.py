from __future__ import annotations

import wave
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.cli.demo import prepare_call
from chime_gateway.errors import ConfigError
from tests.support.files import temporary_folder


def write(path: Path, seconds: float, level: int, rate: int) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        sample = level.to_bytes(2, "little", signed=True)
        back = (-level).to_bytes(2, "little", signed=True)
        file.writeframes((sample + back) * int(rate * seconds / 2))
    return str(path)


class UtteranceTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        st.floats(0, 1.5), st.integers(0, 20_000), st.sampled_from((8000, 24000, 44100))
    )
    def test_an_utterance_that_is_too_short_or_silent_is_refused(
        self, seconds: float, level: int, rate: int
    ) -> None:
        name = write(temporary_folder(self) / "a.wav", seconds, level, rate)
        try:
            plan = prepare_call([name], PCMU, interrupt_after=None)
        except ConfigError as exc:
            self.assertTrue(str(exc).startswith(name))
            self.assertTrue(seconds < 0.31 or level < 200, (seconds, level))
        else:
            self.assertGreater(seconds, 0.29)
            self.assertGreater(level, 50)
            self.assertEqual(len(plan.utterances), 1)

    def test_files_are_played_in_order_and_the_last_answer_is_interrupted(
        self,
    ) -> None:
        folder = temporary_folder(self)
        names = [write(folder / f"{n}.wav", n, 5000, 8000) for n in (1, 2)]
        plan = prepare_call(names, PCMU, interrupt_after=1.5)
        self.assertEqual(len(plan.utterances), 3)
        self.assertEqual(plan.interrupt_after_seconds, (None, 1.5))
        self.assertEqual([len(u) for u in plan.utterances[:2]], [8000, 16000])
        plan = prepare_call([], PCMU, interrupt_after=None)
        self.assertEqual((len(plan.utterances), plan.interrupt_after_seconds), (1, ()))
