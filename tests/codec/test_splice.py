"""A cut in speech is not heard as a gap or a click."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_24000, PCMA, PCMU, Codec
from chime_gateway.codec.registry import decode
from chime_gateway.codec.splice import is_silence, join, shorten
from chime_gateway.codec.tone import tone

#: Prints which modules of numpy were imported.
_PROGRAM = "import sys, chime_gateway.media.pump; print('numpy' in sys.modules)"


class SpliceTests(SynchronousTestCase):
    def test_a_queue_is_shortened_without_numpy(self) -> None:
        """If the first late frame loaded numpy, it would delay all calls."""
        said = subprocess.check_output([sys.executable, "-c", _PROGRAM], text=True)
        self.assertEqual(said.strip(), "False")

    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from((PCMU, PCMA, L16_24000)),
        st.floats(80, 900),
        st.sampled_from((2, 3, 5)),
    )
    def test_a_tone_continues_without_a_click(
        self, codec: Codec, hz: float, frames: int
    ) -> None:
        size = codec.frame_bytes
        whole = tone(codec, hz, 0.2)[size * 2 : size * (2 + frames)]
        short = shorten(codec, whole, size)
        self.assertEqual(len(short), len(whole) - size)
        steps = np.abs(np.diff(decode(codec, whole).astype(float)))
        after = np.abs(np.diff(decode(codec, short).astype(float)))
        self.assertLess(after.max(), 1.6 * steps.max() + 40)

    def test_a_pause_is_cut_before_a_word(self) -> None:
        word = tone(PCMU, 333, 0.06)[160:320]
        for order in ((b"\xff" * 320, word), (word, b"\xff" * 320)):
            self.assertIn(word[60:100], shorten(PCMU, b"".join(order), 160))

    def test_a_joint_fades_from_one_sound_to_the_other(self) -> None:
        old, new = tone(PCMU, 300, 0.06)[160:320], tone(PCMU, 500, 0.06)[160:320]
        joined = join(PCMU, old, new)
        self.assertEqual(joined[60:], new[60:])
        first, expected = decode(PCMU, joined)[0], decode(PCMU, old)[0]
        self.assertLess(abs(int(first) - int(expected)), 600)

    def test_soft_speech_is_not_silence(self) -> None:
        self.assertTrue(is_silence(PCMU, PCMU.silence(160)))
        self.assertTrue(is_silence(PCMA, PCMA.silence(160)))
        self.assertFalse(is_silence(PCMU, tone(PCMU, 300, 0.02, 300)))
