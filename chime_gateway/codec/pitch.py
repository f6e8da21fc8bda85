"""Computes the samples of concealment: a repeated pitch period, and noise."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from chime_gateway.audio import Codec
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode, encode

#: Limits of the pitch period, in seconds: 400 Hz to 66 Hz.
_SHORTEST_PITCH: Final = 0.0025
_LONGEST_PITCH: Final = 0.015

#: Length of the newest audio that is compared with earlier audio.
_MATCH_SECONDS: Final = 0.02

_NOISE_SECONDS: Final = 1


@lru_cache(maxsize=128)
def noise(codec: Codec, level: int) -> bytes:
    """Return a second of white noise with an RMS level of -C{level} dBov."""
    count = codec.clock_rate * _NOISE_SECONDS
    samples = np.random.default_rng(level).normal(0, 32768 * 10 ** (-level / 20), count)
    return encode(codec, samples.astype(np.int16))


def last_period(codec: Codec, history: bytes) -> Samples:
    """Return the newest pitch period of a voice."""
    samples = decode(codec, history)
    rate = codec.clock_rate
    span = int(_MATCH_SECONDS * rate)
    shortest, longest = int(_SHORTEST_PITCH * rate), int(_LONGEST_PITCH * rate)
    if len(samples) < span + longest:
        return samples[-min(len(samples), longest) :]
    signal = samples.astype(np.float64)
    newest = signal[-span:]
    windows = np.lib.stride_tricks.sliding_window_view(signal[:-shortest], span)
    # One window for each lag, from the longest to the shortest.
    candidates = windows[len(windows) - 1 - (longest - shortest) :]
    energy = np.sqrt((candidates * candidates).sum(axis=1)) + 1.0
    best = int(np.argmax(candidates @ newest / energy))
    lag = longest - best
    return samples[-lag:]


def repeated(
    codec: Codec, period: Samples, made: int, count: int, fade_from: float, to: float
) -> bytes:
    """
    Repeat a period, and fade it out.

    @param made: number of samples that were made before these.
    @param fade_from: seconds after which the fade begins.
    @param to: seconds after which it ends, in silence.
    """
    at = np.arange(made, made + count)
    fade = (to - at / codec.clock_rate) / (to - fade_from)
    samples = period[at % len(period)] * np.clip(fade, 0.0, 1.0)
    return encode(codec, samples.astype(np.int16))
