"""
Tells which protocol a packet on the one port of a call belongs to (RFC 7983, RFC
5761).

It looks at the first bytes only, and does not check that the rest is valid.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Kind(Enum):
    STUN = "stun"
    DTLS = "dtls"
    RTP = "rtp"
    RTCP = "rtcp"
    OTHER = "other"


def _kind(first: int) -> Kind:
    """RFC 7983 section 7."""
    if first <= 3:
        return Kind.STUN
    if 20 <= first <= 63:
        return Kind.DTLS
    if 128 <= first <= 191:
        return Kind.RTP
    return Kind.OTHER


_KINDS: Final = tuple(_kind(first) for first in range(256))


def kind(data: bytes) -> Kind:
    """
    An empty packet is something else; one of two bytes and more, of RTP's version,
    is RTCP by its second byte (RFC 5761 section 4).
    """
    if not data:
        return Kind.OTHER
    found = _KINDS[data[0]]
    if found is Kind.RTP and len(data) > 1 and 192 <= data[1] <= 223:
        return Kind.RTCP
    return found
