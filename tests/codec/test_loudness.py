from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import CODECS
from chime_gateway.codec.loudness import is_loud
from chime_gateway.codec.registry import encode


class LoudnessTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(
        st.sampled_from(sorted(CODECS)),
        st.floats(0.0, 32_000.0),
        st.integers(0, 1_000_000),
    )
    def test_loudness_is_detected_in_every_codec(
        self, name: str, rms: float, seed: int
    ) -> None:
        codec = CODECS[name]
        noise = np.random.default_rng(seed).normal(0.0, rms, codec.clock_rate // 10)
        samples = np.clip(noise, -32_768, 32_767).astype(np.int16)
        loud = is_loud(codec, bytearray(encode(codec, samples)))
        if rms < 250.0:  # -42 dBFS
            self.assertFalse(loud)
        if rms > 600.0:  # -35 dBFS
            self.assertTrue(loud)

    def test_empty_audio_is_not_loud(self) -> None:
        for codec in CODECS.values():
            self.assertFalse(is_loud(codec, b""))
            self.assertFalse(is_loud(codec, codec.silence(codec.frame_bytes)))
