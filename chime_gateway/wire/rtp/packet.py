"""
Reads and writes RTP packets, and compares their counters (RFC 3550, RFC 3551).
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import define

from chime_gateway.errors import RemoteProtocolError

VERSION: Final = 2
HEADER_BYTES: Final = 12


#: Version and flags, marker and payload type, sequence number, timestamp, SSRC.
HEADER: Final = struct.Struct("!BBHII")

#: The same, with the first two bytes as one number (L{plain_head}).
HEAD: Final = struct.Struct("!HHII")

_EXTENSION: Final = struct.Struct("!HH")


class RtpError(RemoteProtocolError):
    """The data is not an RTP packet; the text is a metric's label."""


@define
class RtpPacket:
    """
    An RTP packet.

    @ivar sequence_number: modulo 2**16.
    @ivar timestamp: in samples, modulo 2**32.
    """

    payload_type: int
    marker: bool
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(data: bytes) -> RtpPacket:
    """
    Parse a packet.

    @raise RtpError: it is not an RTP packet.
    """
    if len(data) < HEADER_BYTES:
        raise RtpError("short")
    first, second, sequence_number, timestamp, ssrc = HEADER.unpack_from(data)
    # 0x80 is the usual first byte: no padding, extension or contributing sources.
    is_usual = first == 0x80
    payload = data[HEADER_BYTES:] if is_usual else _unusual_payload(data, first)
    return RtpPacket(
        second & 0x7F, second > 0x7F, sequence_number, timestamp, ssrc, payload
    )


def _unusual_payload(data: bytes, first: int) -> bytes:
    if first >> 6 != VERSION:
        raise RtpError("version")
    start, end = HEADER_BYTES + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if end < start + 4:
            raise RtpError("short")
        start += 4 + 4 * _EXTENSION.unpack_from(data, start)[1]
    if first & 0x20:
        padding = data[-1]
        if padding == 0 or padding > end - start:
            raise RtpError("padding")
        end -= padding
    if start > end:
        raise RtpError("short")
    return data[start:end]


def serialize(
    payload_type: int,
    marker: bool,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
) -> bytes:
    """Write a packet without padding, extension or contributing sources."""
    second = payload_type | 0x80 if marker else payload_type
    return HEADER.pack(0x80, second, sequence_number, timestamp, ssrc) + payload


def plain_head(payload_type: int) -> int:
    """
    Return the first two bytes of a packet without padding, extension, contributing
    sources or marker, as a number.  With a marker it might be RTCP (RFC 5761).
    """
    return VERSION << 14 | payload_type


def is_rtcp(data: bytes) -> bool:
    """Whether a packet on the RTP port is RTCP (RFC 5761 section 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


def sequence_delta(later: int, earlier: int) -> int:
    """Return how far C{later} is ahead, from -32768 to 32767."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """Return how far C{later} is ahead, from -2**31 to 2**31 - 1."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000
