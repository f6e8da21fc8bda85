"""
Splits a byte stream into packets: two bytes of length precede each (RFC 4571, RFC
6544 section 10.1).
"""

from __future__ import annotations

from typing import Final

#: What two bytes can say.
MOST_BYTES: Final = 0xFFFF


def frame(data: bytes) -> bytes:
    """
    @raise ValueError: it is too long for a frame.
    """
    if len(data) > MOST_BYTES:
        raise ValueError("too long for a frame")
    return len(data).to_bytes(2, "big") + data


class FrameReader:
    """
    Cut a stream into packets.  Whatever comes is a frame, so nothing is refused; it
    holds one unfinished frame at most.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are complete now, without empty ones."""
        buffer = self._buffer
        buffer += data
        packets: list[bytes] = []
        start, end = 0, len(buffer)
        while end - start >= 2:
            size = buffer[start] << 8 | buffer[start + 1]
            if end - start - 2 < size:
                break
            if size:
                packets.append(bytes(buffer[start + 2 : start + 2 + size]))
            start += 2 + size
        del buffer[:start]
        return packets
