from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.carriers.kinesis.utterances import UtteranceCutter
from tests.carriers.kinesis.test_reply import FRAME, SECOND, seconds, speech


def silence(seconds: float) -> bytes:
    return PCMU.silence(round(seconds * 50) * FRAME)


def cut(audio: bytes, piece: int = 10 * FRAME) -> list[bytes]:
    """Return all utterances, the last one after the end."""
    cutter = UtteranceCutter()
    found = []
    for at in range(0, len(audio), piece):
        found += cutter.add(audio[at : at + piece])
    rest = cutter.flush()
    return [*found, rest] if rest else found


class CutterTests(SynchronousTestCase):
    def test_the_first_utterance_is_short_and_ends_in_a_pause(self) -> None:
        audio = speech(1.0) + silence(0.4) + speech(1.0) + silence(0.4) + speech(2.0)
        utterances = cut(audio)
        # 160 ms of silence are a pause.
        self.assertAlmostEqual(seconds(utterances)[0], 1.16, places=3)
        # Later ones are long: each costs an update and a moment of silence.
        self.assertEqual(len(utterances), 2)
        self.assertEqual(b"".join(utterances), audio)

    def test_a_pause_too_soon_is_ignored(self) -> None:
        utterances = cut(speech(0.3) + silence(0.2) + speech(0.6) + silence(0.3))
        self.assertGreater(seconds(utterances)[0], 0.9)

    def test_a_breath_is_not_a_pause(self) -> None:
        audio = (speech(0.5) + silence(0.1)) * 4
        self.assertEqual(len(cut(audio)), 1)

    def test_speech_without_a_pause_is_cut_at_its_quietest_frame(self) -> None:
        audio = speech(7.0) + speech(0.1, loud=0.05) + speech(3.0)
        utterances = cut(audio)
        self.assertTrue(7.0 <= seconds(utterances)[0] <= 7.1, seconds(utterances))
        self.assertEqual(b"".join(utterances), audio)

    def test_silence_is_kept_for_the_next_utterance(self) -> None:
        utterances = cut(silence(3.0) + speech(1.0) + silence(0.5) + speech(0.2))
        self.assertAlmostEqual(seconds(utterances)[0], 4.16, places=3)

    def test_the_first_utterance_of_each_turn_is_short(self) -> None:
        cutter = UtteranceCutter()
        cutter.add(speech(0.5))
        self.assertEqual(len(cutter.flush()), SECOND // 2)
        self.assertEqual(cutter.flush(), b"")
        (first,) = cutter.add(speech(0.8) + silence(0.16))
        self.assertEqual(len(first), round(0.96 * SECOND))

    @given(
        st.lists(
            st.tuples(st.floats(0.02, 3.0), st.booleans()), min_size=1, max_size=8
        ),
        st.integers(1, 80),
    )
    @settings(max_examples=60, deadline=None)
    def test_no_audio_is_lost_and_no_utterance_is_too_long(
        self, parts: list[tuple[float, bool]], frames: int
    ) -> None:
        audio = b"".join(
            speech(length) if is_speech else silence(length)
            for length, is_speech in parts
        )
        utterances = cut(audio, frames * FRAME)
        self.assertEqual(b"".join(utterances), audio)
        for utterance in utterances:
            self.assertTrue(0 < len(utterance) <= 8 * SECOND)
            self.assertEqual(len(utterance) % FRAME, 0)
