"""
Negotiates the keys of SRTP in session descriptions (RFC 4568): the crypto lines that
are offered and chosen, and the resulting keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from chime_gateway.rtp.keys import (
    AES_128_TAG_32,
    AES_128_TAG_80,
    AES_256_TAG_32,
    AES_256_TAG_80,
    SrtpKeys,
    SrtpProfile,
)
from chime_gateway.wire.sdp.sdes import Crypto

#: The profiles by suite; see L{chime_gateway.wire.sdp.sdes.SUITES}.
PROFILES: Final[Mapping[str, SrtpProfile]] = {
    "AES_CM_128_HMAC_SHA1_80": AES_128_TAG_80,
    "AES_CM_128_HMAC_SHA1_32": AES_128_TAG_32,
    "AES_256_CM_HMAC_SHA1_80": AES_256_TAG_80,
    "AES_256_CM_HMAC_SHA1_32": AES_256_TAG_32,
    "AES_CM_256_HMAC_SHA1_80": AES_256_TAG_80,
    "AES_CM_256_HMAC_SHA1_32": AES_256_TAG_32,
}


def new_crypto(offered: Crypto) -> Crypto:
    """Return the gateway's crypto line, with the same suite and tag."""
    key = secrets.token_bytes(PROFILES[offered.suite.upper()].key_bytes)
    return Crypto(offered.tag, offered.suite, key)


def offer_crypto() -> Crypto:
    """Return the crypto line of an offer, with the suite that all peers support."""
    suite = "AES_CM_128_HMAC_SHA1_80"
    return Crypto(1, suite, secrets.token_bytes(PROFILES[suite].key_bytes))


def srtp_keys(local: Crypto, remote: Crypto) -> SrtpKeys:
    """Return the keys in two crypto lines of the same suite."""
    return SrtpKeys(PROFILES[local.suite.upper()], local.key, remote.key)
