"""
The negotiated keys and protection profile of SRTP.

L{chime_gateway.rtp.srtp} protects the packets.  It is imported only when there are
keys: libsrtp and its dependencies take 5 MB, and most SIP calls do not need them.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from chime_gateway.errors import RemoteProtocolError


class SrtpError(RemoteProtocolError):
    """The packet was not made with the negotiated key, or is a replay."""


@frozen
class SrtpProfile:
    """
    A protection profile: AES in counter mode with HMAC-SHA1 (RFC 3711, RFC 6188), or
    AES in Galois/counter mode, which includes authentication (RFC 7714).

    @ivar key_bytes: length of a master key with its salt.
    @ivar tag_bytes: length of RTP's authentication tag.  RTCP always has the long one.
    @ivar salt_bytes: length of the salt.
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
    The keys that each side encrypts with, however they were negotiated.

    @ivar local: the gateway's master key with its salt.
    @ivar remote: the peer's.
    """

    profile: SrtpProfile
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)
