"""
Packet loss concealment for G.711: what might have been said in a lost frame, and how
a pause sounds.

The last pitch period is repeated and fades, after the idea of ITU-T G.711
appendix I.  It is asked for lost frames only and costs nothing otherwise.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from chime_gateway.audio import Codec
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode, encode

#: Pitch is looked for between these, in seconds: 400 Hz to 66 Hz.
_SHORTEST_PITCH: Final = 0.0025
_LONGEST_PITCH: Final = 0.015

#: It is matched over so much, the newest.
_MATCH_SECONDS: Final = 0.02

#: Full for the first 10 ms, then down to nothing at 60 ms.
_FADE_FROM: Final = 0.01
_FADE_TO: Final = 0.06

_HISTORY_SECONDS: Final = 0.04

#: A pause is not louder than this, in -dBov: a VAD must not take it for speech.
_LOUDEST_NOISE: Final = 40

#: Below this G.711 has no steps left.
_SOFTEST_NOISE: Final = 78

_NOISE_SECONDS: Final = 1


@lru_cache(maxsize=128)
def _noise(codec: Codec, level: int) -> bytes:
    """White noise so far below the loudest there is, a second of it."""
    count = codec.clock_rate * _NOISE_SECONDS
    samples = np.random.default_rng(level).normal(0, 32768 * 10 ** (-level / 20), count)
    return encode(codec, samples.astype(np.int16))


class Concealment:
    """
    @param codec: G.711, of what comes and of what is made.
    """

    __slots__ = (
        *("_codec", "_history", "_history_bytes", "_made", "_noise_at", "_period"),
    )

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._history_bytes = int(_HISTORY_SECONDS * codec.bytes_per_second)
        self._history = b""
        self._made = 0
        self._noise_at = 0
        self._period: Samples = np.zeros(1, np.int16)

    def heard(self, audio: bytes) -> None:
        """What was not lost; of what came before something was, the last of it."""
        self._history = (self._history + audio)[-self._history_bytes :]
        self._made = 0

    def conceal(self, byte_count: int) -> bytes:
        """What to play in place of so much."""
        codec = self._codec
        most = int(_FADE_TO * codec.clock_rate) - self._made
        if not self._history or most <= 0:
            return codec.silence(byte_count)
        if self._made == 0:
            self._period = self._last_period()
        count = min(byte_count, most)
        at = np.arange(self._made, self._made + count)
        self._made += count
        rate = codec.clock_rate
        fade = (_FADE_TO - at / rate) / (_FADE_TO - _FADE_FROM)
        samples = self._period[at % len(self._period)] * np.clip(fade, 0.0, 1.0)
        made = encode(codec, samples.astype(np.int16))
        return made + codec.silence(byte_count - count)

    def silence(self, byte_count: int, noise: int | None) -> bytes:
        """
        What a pause sounds like.

        @param noise: its level, in -dBov (RFC 3389 section 3); C{None}, or less than
            can be heard: nothing.
        """
        if noise is None or noise >= _SOFTEST_NOISE:
            return self._codec.silence(byte_count)
        second = _noise(self._codec, max(_LOUDEST_NOISE, noise))
        start = self._noise_at
        self._noise_at = (start + byte_count) % len(second)
        if start + byte_count <= len(second):
            return second[start : start + byte_count]
        return (second * (2 + byte_count // len(second)))[start : start + byte_count]

    def _last_period(self) -> Samples:
        samples = decode(self._codec, self._history)
        rate = self._codec.clock_rate
        span = int(_MATCH_SECONDS * rate)
        shortest, longest = int(_SHORTEST_PITCH * rate), int(_LONGEST_PITCH * rate)
        if len(samples) < span + longest:
            return samples[-min(len(samples), longest) :]
        signal = samples.astype(np.float64)
        newest = signal[-span:]
        windows = np.lib.stride_tricks.sliding_window_view(signal[:-shortest], span)
        # Window i ends so many samples before the end:
        candidates = windows[len(windows) - 1 - (longest - shortest) :]
        energy = np.sqrt((candidates * candidates).sum(axis=1)) + 1.0
        best = int(np.argmax(candidates @ newest / energy))
        lag = longest - best
        return samples[-lag:]
