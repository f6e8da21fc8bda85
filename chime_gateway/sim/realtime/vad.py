"""
Voice activity detection by energy: good enough for clean speech, and predictable.

Positions are milliseconds of audio received, never of time passed.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.audio import PTIME_MS, Codec
from chime_gateway.codec.level import level_dbfs
from chime_gateway.codec.registry import decode

#: Speech is above this at a threshold of 0.5; 0 and 1 are 15 dB lower, higher.
_SPEECH_DBFS: Final = -42.0
_DB_PER_THRESHOLD: Final = 30.0

#: So much speech in a row is a start; a click is shorter.
_START_MS: Final = 60


@frozen
class SpeechEdge:
    """Speech began or ended; C{at_ms} is where its first or last sound lies."""

    is_start: bool
    at_ms: int


class EnergyVad:
    """Feed audio in any length; get the edges it contains."""

    def __init__(self, codec: Codec, threshold: float, silence_ms: int) -> None:
        self._codec = codec
        self._level = _SPEECH_DBFS + (threshold - 0.5) * _DB_PER_THRESHOLD
        self._silence_ms = silence_ms
        self._pending = b""
        self._at_ms = 0
        self._run_ms = 0
        self.is_speech = False

    def begin_speech(self, least_ms: int) -> None:
        """Somebody speaks, whatever is heard; not for less than C{least_ms}."""
        self.is_speech = True
        self._run_ms = -least_ms

    def end_speech(self) -> None:
        """Nobody speaks any more; who goes on begins anew."""
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
