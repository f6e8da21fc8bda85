"""
Audio as the gateway carries it: bytes, and the codec that says what they mean.

A leg and an agent each declare one L{Codec} when they open.  After that, audio travels
as plain C{bytes}: the codec is known per call and is not repeated with each frame.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

#: One frame on the telephone side (RFC 3551 section 4.5: the default ptime).
PTIME_MS: Final = 20


@frozen
class Codec:
    """
    The encoding of an audio stream.

    @ivar name: the name used in settings, logs and records.
    @ivar clock_rate: samples per second.
    @ivar sample_bytes: bytes per sample (G.711: 1, L16: 2, little endian).
    @ivar silence_byte: the byte that, repeated, encodes silence.
    """

    name: str
    clock_rate: int
    sample_bytes: int
    silence_byte: bytes
    bytes_per_second: int = field(init=False)
    frame_bytes: int = field(init=False)

    @bytes_per_second.default
    def _bytes_per_second(self) -> int:
        return self.clock_rate * self.sample_bytes

    @frame_bytes.default
    def _frame_bytes(self) -> int:
        return self.clock_rate * self.sample_bytes * PTIME_MS // 1000

    def duration_ms(self, byte_count: int) -> int:
        """Whole milliseconds in C{byte_count} bytes, rounded down."""
        return byte_count * 1000 // self.bytes_per_second

    def silence(self, byte_count: int) -> bytes:
        return self.silence_byte * byte_count


# 0xFF and 0xD5 are the zero levels of G.711 (ITU-T G.711, tables 2a and 1a with
# the even bits of A-law inverted).
PCMU: Final = Codec("PCMU", 8000, 1, b"\xff")
PCMA: Final = Codec("PCMA", 8000, 1, b"\xd5")
L16_8000: Final = Codec("L16/8000", 8000, 2, b"\0")
L16_16000: Final = Codec("L16/16000", 16000, 2, b"\0")
L16_24000: Final = Codec("L16/24000", 24000, 2, b"\0")

CODECS: Final = {
    codec.name: codec for codec in (PCMU, PCMA, L16_8000, L16_16000, L16_24000)
}
