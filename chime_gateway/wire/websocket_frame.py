"""
Reads and writes plain WebSocket frames, sans I/O (RFC 6455 section 5.2).

After the opening handshake nearly every frame of a media stream is one whole,
unfragmented message.  L{FrameReader} decodes only those, and returns all other bytes
unchanged: a complete implementation handles control frames, fragments and violations.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

OPCODE_TEXT: Final = 0x1
OPCODE_BINARY: Final = 0x2
#: Not an opcode: marks bytes for the complete implementation.
NOT_PLAIN: Final = -1

_FIN: Final = 0x80
_MASKED: Final = 0x80

#: First bytes of plain frames, and the second byte of those with a 16-bit length.
BINARY: Final = _FIN | OPCODE_BINARY
_PLAIN: Final = frozenset({_FIN | OPCODE_TEXT, BINARY})
_USUAL: Final = 126
_USUAL_MASKED: Final = _MASKED | _USUAL

_pack_head: Final = struct.Struct("!BBH").pack

Piece: TypeAlias = tuple[int, bytes]


def mask(payload: bytes, key: bytes) -> bytes:
    """XOR with the repeated 4-byte key (RFC 6455 section 5.3); its own inverse."""
    size = len(payload)
    pad = (key * (size + 3 >> 2))[:size]
    # One XOR of big integers is some twenty times faster than a loop over bytes.
    number = int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")
    return number.to_bytes(size, "little")


def encode_frame(opcode: int, payload: bytes, key: bytes | None = None) -> bytes:
    """Encode a whole message as one frame, masked if there is a C{key}."""
    size = len(payload)
    bit = 0 if key is None else _MASKED
    if 126 <= size < 65536:
        head = _pack_head(_FIN | opcode, bit | 126, size)
    elif size < 126:
        head = bytes((_FIN | opcode, bit | size))
    else:
        head = bytes((_FIN | opcode, bit | 127)) + size.to_bytes(8, "big")
    return head + payload if key is None else head + key + mask(payload, key)


class FrameReader:
    """
    Splits a stream into pieces: C{(opcode, payload)} for a plain message,
    C{(NOT_PLAIN, raw bytes)} for everything else, in order.

    @param masked: whether the peer must mask its frames, as a client must.
    @param max_payload_bytes: a larger frame, and all data after it, is returned as
        C{NOT_PLAIN} as soon as its header has been read.
    """

    __slots__ = (
        *("_chunks", "_fragmented", "_held", "_masked", "_max_payload_bytes"),
        *("_needed", "_is_passing_on"),
    )

    def __init__(self, *, masked: bool, max_payload_bytes: int) -> None:
        self._masked = masked
        self._max_payload_bytes = max_payload_bytes
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = 2
        self._fragmented = False
        self._is_passing_on = False

    def whole(self, data: bytes) -> bytes | None:
        """
        Decode C{data} if it is exactly one plain message with a 16-bit length.  The
        first byte of C{data} tells whether it is text or binary.

        @return: C{None}: pass C{data} to L{feed}; the state has not changed.
        """
        size = len(data) - (8 if self._masked else 4)
        if (
            size < 126
            or data[2] << 8 | data[3] != size
            or data[1] != (_USUAL_MASKED if self._masked else _USUAL)
            or data[0] not in _PLAIN
            or self._held
            or self._fragmented
            or self._is_passing_on
            or size > self._max_payload_bytes
        ):
            return None
        return mask(data[8:], data[4:8]) if self._masked else data[4:]

    def feed(self, data: bytes) -> list[Piece]:
        if self._held:
            # Joined only when the frame can be complete.  Otherwise a peer that sends
            # single bytes would cost quadratic time.
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)
            self._chunks = []
            self._held = 0
        if self._is_passing_on:
            return [(NOT_PLAIN, data)]
        pieces: list[Piece] = []
        offset = 0
        end = len(data)
        while True:
            start = offset + 2
            if end < start:
                needed = 2
                break
            first = data[offset]
            second = data[offset + 1]
            size = second & 0x7F
            if size >= 126:
                extended = 2 if size == 126 else 8
                if end < start + extended:
                    needed = start + extended - offset
                    break
                size = int.from_bytes(data[start : start + extended], "big")
                start += extended
            if size > self._max_payload_bytes:
                self._is_passing_on = True
                pieces.append((NOT_PLAIN, data[offset:]))
                return pieces
            masked = second >= _MASKED
            if masked:
                start += 4
            stop = start + size
            if end < stop:
                needed = stop - offset
                break
            opcode = first & 0x0F
            if first in _PLAIN and masked is self._masked and not self._fragmented:
                payload = data[start:stop]
                if masked:
                    payload = mask(payload, data[start - 4 : start])
                pieces.append((opcode, payload))
            else:
                if opcode < 0x8:  # a fragment; control frames may come in between
                    self._fragmented = first < _FIN
                pieces.append((NOT_PLAIN, data[offset:stop]))
            offset = stop
        if offset < end:
            self._chunks = [data[offset:] if offset else data]
            self._held = end - offset
            self._needed = needed
        return pieces
