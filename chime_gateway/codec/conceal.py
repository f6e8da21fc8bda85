"""
Packet loss concealment for G.711: what might have been said in a lost frame.

The last pitch period is repeated and fades, after the idea of ITU-T G.711
appendix I.  It is asked for lost frames only and costs nothing otherwise.
"""

from __future__ import annotations

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


class Concealment:
    """
    @param codec: G.711, of what comes and of what is made.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._history_bytes = int(_HISTORY_SECONDS * codec.bytes_per_second)
        self._history = b""
        self._made = 0
        self._period: Samples = np.zeros(1, np.int16)

    def heard(self, audio: bytes) -> None:
        """What was not lost."""
        if len(audio) >= self._history_bytes:
            self._history = audio
        else:
            self._history = (self._history + audio)[-self._history_bytes :]
        self._made = 0

    def conceal(self, byte_count: int) -> bytes:
        """What to play in place of so much."""
        codec = self._codec
        if not self._history:
            return codec.silence(byte_count)
        if self._made == 0:
            self._period = self._last_period()
        at = np.arange(self._made, self._made + byte_count)
        self._made += byte_count
        rate = codec.clock_rate
        fade = (_FADE_TO - at / rate) / (_FADE_TO - _FADE_FROM)
        samples = self._period[at % len(self._period)] * np.clip(fade, 0.0, 1.0)
        return encode(codec, samples.astype(np.int16))

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
