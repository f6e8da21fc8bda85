"""
Packet loss concealment for G.711, and comfort noise for pauses.

The last pitch period is repeated and faded out, like in ITU-T G.711 appendix I.  Only
lost frames cost CPU time.  L{chime_gateway.codec.pitch}, which needs numpy, computes
the samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chime_gateway.audio import Codec

if TYPE_CHECKING:
    from chime_gateway.codec.g711 import Samples

#: Full level for the first 10 ms, then fading to silence at 60 ms.
_FADE_FROM: Final = 0.01
_FADE_TO: Final = 0.06

_HISTORY_SECONDS: Final = 0.04

#: The loudest comfort noise, in -dBov: a VAD must not take it for speech.
_LOUDEST_NOISE: Final = 40

#: Softer noise is below the resolution of G.711.
_SOFTEST_NOISE: Final = 78


class Concealment:
    """
    The concealment of one stream.

    @param codec: the codec of the stream, G.711.
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
        self._period: Samples | None = None

    def heard(self, audio: bytes) -> None:
        """Keep the last audio that was received."""
        self._history = (self._history + audio)[-self._history_bytes :]
        self._made = 0

    def conceal(self, byte_count: int) -> bytes:
        """Return the sound to play in place of C{byte_count} lost bytes."""
        codec = self._codec
        most = int(_FADE_TO * codec.clock_rate) - self._made
        if not self._history or most <= 0:
            return codec.silence(byte_count)
        from chime_gateway.codec.pitch import last_period, repeated

        if self._made == 0 or self._period is None:
            self._period = last_period(codec, self._history)
        count = min(byte_count, most)
        made = repeated(codec, self._period, self._made, count, _FADE_FROM, _FADE_TO)
        self._made += count
        return made + codec.silence(byte_count - count)

    def silence(self, byte_count: int, noise: int | None) -> bytes:
        """
        Return the sound of a pause.

        @param noise: noise level, in -dBov (RFC 3389 section 3); C{None}, or too soft
            to be heard: silence.
        """
        if noise is None or noise >= _SOFTEST_NOISE:
            return self._codec.silence(byte_count)
        from chime_gateway.codec.pitch import noise as noise_of

        second = noise_of(self._codec, max(_LOUDEST_NOISE, noise))
        start = self._noise_at
        self._noise_at = (start + byte_count) % len(second)
        if start + byte_count <= len(second):
            return second[start : start + byte_count]
        return (second * (2 + byte_count // len(second)))[start : start + byte_count]
