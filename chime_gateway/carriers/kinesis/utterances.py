"""Cuts speech into utterances at its pauses."""

from __future__ import annotations

from typing import Final

import numpy as np

from chime_gateway.audio import PCMU
from chime_gateway.codec.g711 import decode_mu_law

#: A pause in speech: quieter than this for this many frames of 20 ms.
_QUIET_DBFS: Final = -45.0
_PAUSE_FRAMES: Final = 8

#: The first utterance is short, so that the caller hears something soon.  Later ones
#: are long, as each costs an update and a moment of silence.
_FIRST_SECONDS: Final = 0.7
_LEAST_SECONDS: Final = 2.0
_MOST_SECONDS: Final = 8.0


class UtteranceCutter:
    """Cut speech (G.711) where it pauses."""

    def __init__(self) -> None:
        self._speech = bytearray()
        self._levels: list[float] = []
        self._is_first = True

    def add(self, audio: bytes) -> list[bytes]:
        """
        Add whole frames.

        @return: the utterances that are complete now.
        """
        if not audio:
            return []
        samples = decode_mu_law(audio).reshape(-1, PCMU.frame_bytes)
        squares = np.mean(np.square(samples.astype(np.float64)), axis=1)
        levels = 10 * np.log10(squares / 32768**2 + 1e-12)
        done = []
        for at, level in enumerate(levels):
            start = at * PCMU.frame_bytes
            self._speech += audio[start : start + PCMU.frame_bytes]
            self._levels.append(float(level))
            end = self._cut()
            if end:
                done.append(self._take(end))
        return done

    def flush(self) -> bytes:
        """Return the rest.  The next utterance counts as a first one."""
        speech = self._take(len(self._levels)) if self._levels else b""
        self._is_first = True
        return speech

    def _cut(self) -> int:
        """Return how many frames to cut off now; 0: none."""
        count = len(self._levels)
        seconds = count * PCMU.frame_bytes / PCMU.bytes_per_second
        if seconds >= _MOST_SECONDS:
            # There is no pause: cut at the quietest frame of the last quarter.
            late = self._levels[count * 3 // 4 :]
            return count * 3 // 4 + late.index(min(late)) + 1
        if seconds < (_FIRST_SECONDS if self._is_first else _LEAST_SECONDS):
            return 0
        is_pause = all(n < _QUIET_DBFS for n in self._levels[-_PAUSE_FRAMES:])
        # Silence alone is not an utterance: it is kept for the next one.
        is_speech = any(n >= _QUIET_DBFS for n in self._levels)
        return count if is_pause and is_speech else 0

    def _take(self, frames: int) -> bytes:
        size = frames * PCMU.frame_bytes
        speech = bytes(self._speech[:size])
        del self._speech[:size], self._levels[:frames]
        self._is_first = False
        return speech
