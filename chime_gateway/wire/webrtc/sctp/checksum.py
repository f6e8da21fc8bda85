"""The checksum of SCTP packets, CRC-32C (RFC 9260 appendix A)."""

from __future__ import annotations

from typing import Final

#: Castagnoli's polynomial, with its bits reversed.
_POLYNOMIAL: Final = 0x82F63B78


def _entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_entry(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """
    Compute the checksum.  Packets have at most 1,100 bytes, and most are short, so a
    table is fast enough.
    """
    table = _TABLE
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF
