"""
Determines the protocol of a packet on a port that several protocols share (RFC 7983,
RFC 5761).

It reads the first bytes only, and does not check that the rest is valid.
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
    """Return the protocol for a first byte (RFC 7983 section 7)."""
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
    Return a packet's protocol.  RTP and RTCP differ in the second byte (RFC 5761
    section 4).  An empty packet is C{OTHER}.
    """
    if not data:
        return Kind.OTHER
    found = _KINDS[data[0]]
    if found is Kind.RTP and len(data) > 1 and 192 <= data[1] <= 223:
        return Kind.RTCP
    return found
