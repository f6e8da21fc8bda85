"""
SRTP for one call (RFC 3711).  How its two sides came to their keys is not known here.

The cipher work is libsrtp's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from attrs import field, frozen
from pylibsrtp import Error, Policy, Session
from pylibsrtp._binding import ffi

from chime_gateway.errors import RemoteProtocolError

_HMAC_SHA1: Final = 3
_AES_ICM_256: Final = 5
_CONFIDENTIALITY_AND_AUTHENTICATION: Final = 3

#: libsrtp's srtp_crypto_policy_t: cipher, key length, authentication, its key
#: length, tag length, services.  pylibsrtp names no 256 bit counter mode.
_CRYPTO_POLICY: Final = struct.Struct("@iiiiii")


class SrtpError(RemoteProtocolError):
    """A packet that was not made with the key agreed on, or came before."""


@frozen
class SrtpProfile:
    """
    How packets are protected: AES in counter mode, HMAC-SHA1 (RFC 3711, RFC 6188).

    @ivar key_bytes: of a master key and its salt.
    @ivar tag_bytes: of RTP; RTCP's tag has the long form always.
    """

    key_bytes: int
    tag_bytes: int


AES_128_TAG_80: Final = SrtpProfile(key_bytes=30, tag_bytes=10)
AES_128_TAG_32: Final = SrtpProfile(key_bytes=30, tag_bytes=4)
AES_256_TAG_80: Final = SrtpProfile(key_bytes=46, tag_bytes=10)
AES_256_TAG_32: Final = SrtpProfile(key_bytes=46, tag_bytes=4)


@frozen
class SrtpKeys:
    """
    What each side encrypts with, wherever the two agreed on it.

    @ivar local: our master key and salt together; C{remote}: the other side's.
    """

    profile: SrtpProfile
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)


def _policy(profile: SrtpProfile, key: bytes, ssrc_type: int) -> Policy:
    name = (
        Policy.SRTP_PROFILE_AES128_CM_SHA1_32
        if profile.tag_bytes == 4
        else Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    )
    policy = Policy(key=key, ssrc_type=ssrc_type, srtp_profile=name)
    if profile.key_bytes == AES_256_TAG_80.key_bytes:
        # RFC 6188; SRTCP has the long tag always (RFC 4568 section 6.2).
        for part, tag_bytes in (
            (policy._policy.rtp, profile.tag_bytes),
            (policy._policy.rtcp, 10),
        ):
            if ffi.sizeof(part) != _CRYPTO_POLICY.size:
                raise AssertionError("libsrtp has another srtp_crypto_policy_t")
            values = _CRYPTO_POLICY.pack(
                _AES_ICM_256,
                profile.key_bytes,
                _HMAC_SHA1,
                20,
                tag_bytes,
                _CONFIDENTIALITY_AND_AUTHENTICATION,
            )
            ffi.memmove(ffi.addressof(part), values, _CRYPTO_POLICY.size)
    return policy


#: What libsrtp says of a packet that was made with another key, or under another
#: count of rollovers.
_NOT_AUTHENTIC: Final = "authentication failure"

#: A packet with this number brings a context to where the next rollover is due.  It
#: is too far from it to be one that still comes.
_BEFORE_ROLLOVER: Final = 0xFFFF - 256
_DUMMY: Final = struct.Struct("!BBHII")


class SrtpCodec:
    """Protect what goes out, check and open what comes in."""

    def __init__(self, keys: SrtpKeys) -> None:
        outbound = Session(_policy(keys.profile, keys.local, Policy.SSRC_ANY_OUTBOUND))
        inbound = Session(_policy(keys.profile, keys.remote, Policy.SSRC_ANY_INBOUND))
        self.protect: Callable[[bytes], bytes] = outbound.protect
        self.protect_rtcp: Callable[[bytes], bytes] = outbound.protect_rtcp
        self._unprotect = inbound.unprotect
        self._unprotect_rtcp = inbound.unprotect_rtcp
        self._keys = keys
        self._ssrc = b""
        self._trial: tuple[Session, Session] | None = None

    def unprotect(self, packet: bytes) -> bytes:
        """
        @raise SrtpError: drop it.
        """
        try:
            plain = bytes(self._unprotect(packet))
        except (Error, ValueError) as exc:
            if str(exc) != _NOT_AUTHENTIC or packet[8:12] == self._ssrc:
                raise SrtpError("srtp") from exc
            plain = self._unprotect_after_rollover(packet)
        self._ssrc = packet[8:12]
        return plain

    def _unprotect_after_rollover(self, packet: bytes) -> bytes:
        """
        The first one of a source whose numbers began anew before anything of it
        came (RFC 3711 section 3.3.1): its rollovers are counted from 1.

        @raise SrtpError: that is not what is wrong with it.
        """
        number = int.from_bytes(packet[2:4])
        if number >= 0x8000:
            raise SrtpError("srtp")
        sender, receiver = self._trial or self._new_trial()
        ssrc = int.from_bytes(packet[8:12])
        # As the other side would have made it.
        dummy = sender.protect(_DUMMY.pack(0x80, 0, _BEFORE_ROLLOVER, 0, ssrc))
        receiver.unprotect(dummy)
        try:
            receiver.unprotect(packet)
            self._unprotect(dummy)
            return bytes(self._unprotect(packet))
        except (Error, ValueError) as exc:
            raise SrtpError("srtp") from exc
        finally:
            # Anybody can send any number of sources.
            sender.remove_stream(ssrc)
            receiver.remove_stream(ssrc)

    def _new_trial(self) -> tuple[Session, Session]:
        profile, key = self._keys.profile, self._keys.remote
        self._trial = (
            Session(_policy(profile, key, Policy.SSRC_ANY_OUTBOUND)),
            Session(_policy(profile, key, Policy.SSRC_ANY_INBOUND)),
        )
        return self._trial

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """
        @raise SrtpError: drop it.
        """
        try:
            return bytes(self._unprotect_rtcp(packet))
        except (Error, ValueError) as exc:
            raise SrtpError("srtcp") from exc
