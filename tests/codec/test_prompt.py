"""A sound keeps its length, level and pitch in every codec."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import CODECS
from chime_gateway.codec.level import level_dbfs
from chime_gateway.codec.prompt import prepare, prompt
from chime_gateway.codec.registry import decode
from chime_gateway.settings.sound import Sound

#: Full scale of samples, by their width.
_WRITTEN = {
    1: lambda wave: (np.rint(wave * 127) + 128).astype(np.uint8).tobytes(),
    2: lambda wave: np.rint(wave * 32767).astype("<i2").tobytes(),
    3: lambda wave: (
        np.rint(wave * (2**23 - 1)).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
    ).tobytes(),
    4: lambda wave: np.rint(wave * (2**31 - 1)).astype("<i4").tobytes(),
}


def sine(rate: int, channels: int, width: int, seconds: float, hz: float) -> Sound:
    wave = 0.25 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)
    data = _WRITTEN[width](np.repeat(wave, channels))
    return Sound("sine.wav", rate, channels, width, data)


class PromptTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        rate=st.sampled_from([8000, 16000, 22050, 24000, 32000, 44100, 48000]),
        channels=st.integers(1, 2),
        width=st.integers(1, 4),
        name=st.sampled_from(sorted(CODECS)),
        hz=st.sampled_from([300.0, 1000.0, 3000.0]),
    )
    def test_it_is_the_same_sound_in_every_codec(
        self, rate: int, channels: int, width: int, name: str, hz: float
    ) -> None:
        codec = CODECS[name]
        sound = sine(rate, channels, width, 0.5, hz)
        audio = prompt(sound, codec)
        self.assertAlmostEqual(len(audio) / codec.bytes_per_second, 0.5, places=3)
        samples = decode(codec, audio)
        self.assertLess(abs(level_dbfs(samples) + 15.05), 0.7)
        spectrum = np.abs(np.fft.rfft(samples.astype(np.float64)))
        self.assertLess(abs(float(spectrum.argmax()) * 2 - hz), 5)

    def test_a_conversion_is_cached(self) -> None:
        sound, again = sine(16000, 1, 2, 0.1, 440), sine(16000, 1, 2, 0.1, 440)
        prepare([sound])
        for codec in (CODECS["PCMU"], CODECS["PCMA"]):
            misses = prompt.cache_info().misses
            self.assertIs(prompt(sound, codec), prompt(again, codec))
            self.assertEqual(prompt.cache_info().misses, misses)
