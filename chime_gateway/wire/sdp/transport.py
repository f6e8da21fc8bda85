"""
How media is carried in WebRTC, as a description says it: ICE, DTLS's fingerprints
and roles, several sections in one bundle (RFC 8839, RFC 8842, RFC 9143).

What is carried is not known here.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from chime_gateway.wire.webrtc.candidate import Candidate, Credentials


class Setup(Enum):
    """Who begins DTLS's handshake: C{active} is its client (RFC 8842 section 5)."""

    ACTPASS = "actpass"
    ACTIVE = "active"
    PASSIVE = "passive"

    def answer(self, wanted: Setup) -> Setup:
        """
        What we answer to it.

        @param wanted: C{ACTIVE} or C{PASSIVE}, if we may choose.
        """
        if self is Setup.ACTPASS:
            return wanted
        return Setup.PASSIVE if self is Setup.ACTIVE else Setup.ACTIVE


@frozen
class Fingerprint:
    """
    @ivar hash: its name in lower case, C{sha-256}.
    @ivar digest: of the certificate in DER.
    """

    hash: str
    digest: bytes

    def __str__(self) -> str:
        return f"{self.hash} {self.digest.hex(':').upper()}"


@frozen(kw_only=True)
class Transport:
    """
    One side's.

    @ivar fingerprints: any of them may be the certificate's; never empty.
    @ivar candidates: that can be used here, best first; mDNS names and the like are
        left out.
    @ivar is_lite: C{a=ice-lite}.
    """

    credentials: Credentials
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    candidates: tuple[Candidate, ...] = ()
    is_lite: bool = False
