"""
SRTP for one call (RFC 3711) with the keys of its session description.

The cipher work is libsrtp's.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen
from pylibsrtp import Error, Policy, Session
from pylibsrtp._binding import ffi

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.sip.sdp import SUITES, Crypto

_HMAC_SHA1: Final = 3
_AES_ICM_256: Final = 5
_CONFIDENTIALITY_AND_AUTHENTICATION: Final = 3

#: libsrtp's srtp_crypto_policy_t: cipher, key length, authentication, its key
#: length, tag length, services.  pylibsrtp names no 256 bit counter mode.
_CRYPTO_POLICY: Final = struct.Struct("@iiiiii")


class SrtpError(RemoteProtocolError):
    """A packet that was not made with the key agreed on, or came before."""


@frozen
class SrtpKeys:
    """What each side encrypts with."""

    local: Crypto
    remote: Crypto


def new_crypto(offered: Crypto) -> Crypto:
    """Our key, for the same suite under the same tag."""
    key = secrets.token_bytes(SUITES[offered.suite])
    return Crypto(offered.tag, offered.suite, key)


def offer_cryptos() -> Crypto:
    """What we propose: the suite that everybody has."""
    suite = "AES_CM_128_HMAC_SHA1_80"
    return Crypto(1, suite, secrets.token_bytes(SUITES[suite]))


def choose_crypto(cryptos: Sequence[Crypto]) -> Crypto | None:
    """The first one offered: the order is the other side's preference."""
    return cryptos[0] if cryptos else None


def _policy(crypto: Crypto, ssrc_type: int) -> Policy:
    is_short = crypto.suite.endswith("_32")
    profile = (
        Policy.SRTP_PROFILE_AES128_CM_SHA1_32
        if is_short
        else Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    )
    policy = Policy(key=crypto.key, ssrc_type=ssrc_type, srtp_profile=profile)
    if "256" in crypto.suite:
        # RFC 6188; SRTCP has the long tag always (RFC 4568 section 6.2).
        for part, tag_bytes in (
            (policy._policy.rtp, 4 if is_short else 10),
            (policy._policy.rtcp, 10),
        ):
            if ffi.sizeof(part) != _CRYPTO_POLICY.size:
                raise AssertionError("libsrtp has another srtp_crypto_policy_t")
            values = _CRYPTO_POLICY.pack(
                _AES_ICM_256,
                SUITES[crypto.suite],
                _HMAC_SHA1,
                20,
                tag_bytes,
                _CONFIDENTIALITY_AND_AUTHENTICATION,
            )
            ffi.memmove(ffi.addressof(part), values, _CRYPTO_POLICY.size)
    return policy


class SrtpCodec:
    """Protect what goes out, check and open what comes in."""

    def __init__(self, keys: SrtpKeys) -> None:
        outbound = Session(_policy(keys.local, Policy.SSRC_ANY_OUTBOUND))
        inbound = Session(_policy(keys.remote, Policy.SSRC_ANY_INBOUND))
        self.protect: Callable[[bytes], bytes] = outbound.protect
        self.protect_rtcp: Callable[[bytes], bytes] = outbound.protect_rtcp
        self._unprotect = inbound.unprotect
        self._unprotect_rtcp = inbound.unprotect_rtcp

    def unprotect(self, packet: bytes) -> bytes:
        """
        @raise SrtpError: drop it.
        """
        try:
            return bytes(self._unprotect(packet))
        except (Error, ValueError) as exc:
            raise SrtpError("srtp") from exc

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """
        @raise SrtpError: drop it.
        """
        try:
            return bytes(self._unprotect_rtcp(packet))
        except (Error, ValueError) as exc:
            raise SrtpError("srtcp") from exc
