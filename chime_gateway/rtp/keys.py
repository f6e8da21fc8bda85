"""
The keys of SRTP, and how they protect packets, as both sides agreed on.

L{chime_gateway.rtp.srtp} protects the packets.  It is imported only where there are
keys: libsrtp and its dependencies take 5 MB, and most SIP calls do without.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from chime_gateway.errors import RemoteProtocolError


class SrtpError(RemoteProtocolError):
    """A packet that was not made with the key agreed on, or came before."""


@frozen
class SrtpProfile:
    """
    How packets are protected: AES in counter mode, HMAC-SHA1 (RFC 3711, RFC 6188), or
    AES in Galois counter mode, which needs nothing besides (RFC 7714).

    @ivar key_bytes: of a master key and its salt together.
    @ivar tag_bytes: of RTP; RTCP's tag has the long form always.
    @ivar salt_bytes: of the salt.
    """

    key_bytes: int
    tag_bytes: int
    salt_bytes: int = 14


AES_128_TAG_80: Final = SrtpProfile(key_bytes=30, tag_bytes=10)
AES_128_TAG_32: Final = SrtpProfile(key_bytes=30, tag_bytes=4)
AES_256_TAG_80: Final = SrtpProfile(key_bytes=46, tag_bytes=10)
AES_256_TAG_32: Final = SrtpProfile(key_bytes=46, tag_bytes=4)
AEAD_AES_128_GCM: Final = SrtpProfile(key_bytes=28, tag_bytes=16, salt_bytes=12)
AEAD_AES_256_GCM: Final = SrtpProfile(key_bytes=44, tag_bytes=16, salt_bytes=12)


@frozen
class SrtpKeys:
    """
    What each side encrypts with, wherever the two agreed on it.

    @ivar local: our master key and salt together; C{remote}: the other side's.
    """

    profile: SrtpProfile
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)
