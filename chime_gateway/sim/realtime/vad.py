"""
Voice activity detection by energy: sufficient for clean speech, and predictable.

Positions are in milliseconds of received audio, never of elapsed time.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.audio import PTIME_MS, Codec
from chime_gateway.codec.level import level_dbfs
from chime_gateway.codec.registry import decode

#: The level of speech at a threshold of 0.5; at 0 it is 15 dB lower, at 1 15 dB higher.
_SPEECH_DBFS: Final = -42.0
_DB_PER_THRESHOLD: Final = 30.0

#: The minimum length of speech that counts as a start; a click is shorter.
_START_MS: Final = 60


@frozen
class SpeechEdge:
    """Speech began or ended; C{at_ms} is the position of its first or last sound."""

    is_start: bool
    at_ms: int


class EnergyVad:
    """Finds the edges in audio that is fed in pieces of any length."""

    def __init__(self, codec: Codec, threshold: float, silence_ms: int) -> None:
        self._codec = codec
        self._level = _SPEECH_DBFS + (threshold - 0.5) * _DB_PER_THRESHOLD
        self._silence_ms = silence_ms
        self._pending = b""
        self._at_ms = 0
        self._run_ms = 0
        self.is_speech = False

    def begin_speech(self, least_ms: int) -> None:
        """Assume speech for at least C{least_ms}, whatever the audio contains."""
        self.is_speech = True
        self._run_ms = -least_ms

    def end_speech(self) -> None:
        """Assume silence; continued speech counts as a new start."""
        self.is_speech = False
        self._run_ms = 0

    def feed(self, audio: bytes) -> list[SpeechEdge]:
        edges: list[SpeechEdge] = []
        data = self._pending + audio
        size = self._codec.frame_bytes
        whole = len(data) - len(data) % size
        self._pending = data[whole:]
        for start in range(0, whole, size):
            self._at_ms += PTIME_MS
            samples = decode(self._codec, data[start : start + size])
            is_loud = level_dbfs(samples) > self._level
            # While silent, count loud frames in a row; while speaking, quiet ones.
            self._run_ms = self._run_ms + PTIME_MS if is_loud != self.is_speech else 0
            needed = self._silence_ms if self.is_speech else _START_MS
            if self._run_ms >= needed:
                self.is_speech = not self.is_speech
                at_ms = self._at_ms - (self._run_ms if self.is_speech else 0)
                edges.append(SpeechEdge(self.is_speech, at_ms))
                self._run_ms = 0
        return edges
