"""
Packets on a byte stream, each after two bytes with its length (RFC 4571, RFC 6544
section 10.1).
"""

from __future__ import annotations

from typing import Final

#: The largest length that two bytes can hold.
MOST_BYTES: Final = 0xFFFF


def frame(data: bytes) -> bytes:
    """
    Put the length before a packet.

    @raise ValueError: the packet is too long.
    """
    if len(data) > MOST_BYTES:
        raise ValueError("too long for a frame")
    return len(data).to_bytes(2, "big") + data


class FrameReader:
    """
    Splits a stream into packets.  All data is valid; at most one incomplete packet is
    kept.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the packets that are complete now, without empty ones."""
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
