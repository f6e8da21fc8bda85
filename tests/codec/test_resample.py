from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.codec.resample import Resampler

RATES = (8000, 16000, 24000)
PAIRS = [(a, b) for a in RATES for b in RATES if a != b]


def tone(rate: int, hz: float, seconds: float = 1.0) -> NDArray[np.int16]:
    time = np.arange(round(rate * seconds)) / rate
    wave: NDArray[np.int16] = np.rint(8000 * np.sin(2 * np.pi * hz * time)).astype(
        np.int16
    )
    return wave


def spectrum_db(samples: NDArray[np.int16], rate: int) -> tuple[Any, Any]:
    """Return frequencies, and levels relative to a sine of amplitude 8000."""
    window = np.hanning(len(samples))
    levels = np.abs(np.fft.rfft(samples * window)) / (8000 * window.sum() / 2)
    return np.fft.rfftfreq(len(samples), 1 / rate), 20 * np.log10(levels + 1e-9)


def settled(samples: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
    """Without the first and last 50 ms, where the tone begins and ends."""
    return samples[rate // 20 : -rate // 20]


class ResamplerTests(SynchronousTestCase):
    def test_the_number_of_samples_is_exact(self) -> None:
        for source, target in PAIRS:
            with self.subTest(source=source, target=target):
                out = Resampler(source, target).resample(tone(source, 440))
                self.assertEqual(len(out), target)

    @settings(max_examples=25)
    @given(
        st.sampled_from(PAIRS), st.lists(st.integers(0, 700), min_size=1, max_size=12)
    )
    def test_chunks_of_any_size_give_the_same_samples(
        self, pair: tuple[int, int], sizes: list[int]
    ) -> None:
        source, target = pair
        noise = np.random.default_rng(1).integers(-9000, 9000, sum(sizes))
        samples = noise.astype(np.int16)
        whole = Resampler(source, target).resample(samples)
        cut = Resampler(source, target)
        parts, start = [], 0
        for size in sizes:
            parts.append(cut.resample(samples[start : start + size]))
            start += size
        joined = np.concatenate(parts)
        self.assertEqual(len(joined), len(whole))
        # The library adds in another order for another size, so that the last bit may
        # be rounded differently at a half.
        off = np.abs(joined.astype(int) - whole.astype(int))
        self.assertLessEqual(off.max(initial=0), 1)

    def test_the_delay_is_at_most_three_milliseconds(self) -> None:
        for source, target in PAIRS:
            with self.subTest(source=source, target=target):
                resampler = Resampler(source, target)
                impulse = np.zeros(source // 10, dtype=np.int16)
                at = source // 20
                impulse[at] = 20000
                out = np.abs(resampler.resample(impulse).astype(np.int64))
                delay = np.argmax(out) / target - at / source
                self.assertGreaterEqual(delay, 0.0)
                self.assertLessEqual(delay, 0.003)
                self.assertApproximates(delay, resampler.delay_seconds, 0.0002)

    def test_speech_frequencies_pass_unchanged(self) -> None:
        for source, target in PAIRS:
            edge = 0.42 * min(source, target)
            for hz in (100.0, 300.0, 1000.0, 0.3 * edge, edge):
                with self.subTest(source=source, target=target, hz=hz):
                    out = Resampler(source, target).resample(tone(source, hz))
                    middle = settled(out, target).astype(np.float64)
                    amplitude = np.sqrt(2 * np.mean(middle**2))
                    gain_db = 20 * np.log10(amplitude / 8000)
                    self.assertApproximates(float(gain_db), 0.0, 0.1)

    def test_aliases_are_fifty_decibels_down(self) -> None:
        for source, target in PAIRS:
            if source < target:
                continue
            for hz in np.linspace(0.54 * target, 0.499 * source, 9):
                with self.subTest(source=source, target=target, hz=hz):
                    out = Resampler(source, target).resample(tone(source, float(hz)))
                    _, levels = spectrum_db(settled(out, target), target)
                    self.assertLess(float(levels.max()), -50.0)

    def test_images_are_fifty_decibels_down(self) -> None:
        for source, target in PAIRS:
            if source > target:
                continue
            for hz in (300.0, 1000.0, 0.4 * source):
                with self.subTest(source=source, target=target, hz=hz):
                    out = Resampler(source, target).resample(tone(source, hz))
                    frequencies, levels = spectrum_db(settled(out, target), target)
                    images = levels[np.abs(frequencies - hz) > 60]
                    self.assertLess(float(images.max()), -50.0)

    def test_chunk_edges_cause_no_clicks(self) -> None:
        # A click every 20 ms would appear at the multiples of 50 Hz.
        for source, target in PAIRS:
            with self.subTest(source=source, target=target):
                samples = tone(source, 1010.0, 2.0)
                resampler = Resampler(source, target)
                size = source // 50
                out = np.concatenate(
                    [
                        resampler.resample(samples[start : start + size])
                        for start in range(0, len(samples), size)
                    ]
                )
                frequencies, levels = spectrum_db(settled(out, target), target)
                elsewhere = levels[np.abs(frequencies - 1010.0) > 30]
                self.assertLess(float(elsewhere.max()), -60.0)

    def test_full_scale_is_clipped_and_does_not_wrap(self) -> None:
        square = np.where(np.arange(2400) // 40 % 2, 32767, -32768).astype(np.int16)
        out = Resampler(24000, 8000).resample(square).astype(np.int64)
        expected = np.where(np.arange(800) * 3 // 40 % 2, 1, -1)
        agree = np.sign(out[20:-20]) == np.roll(expected, 16)[20:-20]
        self.assertGreater(float(agree.mean()), 0.9)

    def test_empty_input_gives_empty_output(self) -> None:
        empty = np.empty(0, dtype=np.int16)
        self.assertEqual(len(Resampler(8000, 24000).resample(empty)), 0)
