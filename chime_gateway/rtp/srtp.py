"""
SRTP for one call (RFC 3711), by libsrtp.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from socket import htonl
from typing import Any, Final

from pylibsrtp import ERRORS, Policy
from pylibsrtp._binding import ffi, lib

from chime_gateway.rtp.keys import (
    AEAD_AES_128_GCM,
    AEAD_AES_256_GCM,
    AES_128_TAG_32,
    AES_128_TAG_80,
    AES_256_TAG_32,
    AES_256_TAG_80,
    SrtpError,
    SrtpKeys,
    SrtpProfile,
)

_HMAC_SHA1: Final = 3
_AES_ICM_256: Final = 5
_CONFIDENTIALITY_AND_AUTHENTICATION: Final = 3

#: libsrtp's srtp_crypto_policy_t: cipher, key length, authentication, its key length,
#: tag length, services.  pylibsrtp has no constant for 256-bit counter mode.
_CRYPTO_POLICY: Final = struct.Struct("@iiiiii")

#: libsrtp's profiles.  Those of RFC 6188 are derived from AES-128 in counter mode.
_NAMES: Final[Mapping[SrtpProfile, int]] = {
    AES_128_TAG_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    AES_128_TAG_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    AES_256_TAG_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    AES_256_TAG_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    AEAD_AES_256_GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def _policy(profile: SrtpProfile, key: bytes, ssrc_type: int) -> Policy:
    policy = Policy(key=key, ssrc_type=ssrc_type, srtp_profile=_NAMES[profile])
    if profile.key_bytes == AES_256_TAG_80.key_bytes:
        # RFC 6188.  SRTCP always has the long tag (RFC 4568 section 6.2).
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


#: libsrtp's status for a packet that was made with another key or another rollover
#: count.
_NOT_AUTHENTIC: Final = ERRORS.index("authentication failure")

#: The maximum length of a datagram, and of what SRTCP appends to it
#: (SRTP_MAX_SRTCP_TRAILER_LEN).
_MAX_PACKET: Final = 2048
_MAX_TRAILER: Final = 4 + 16 + 128

#: The packet that is being processed, and its length.  All calls share it, as they all
#: run in the reactor's thread.
_PLACE: Final = ffi.new("unsigned char[]", _MAX_PACKET + _MAX_TRAILER)
_BYTES: Final = ffi.buffer(_PLACE)
_SIZE: Final = ffi.new("int *")

#: Dummy packets bring a context to a rollover count.  This is their distance from each
#: other, and the distance of the last one from the packet in question: so far that no
#: packet with its number can still come.
_STEP: Final = 0x7000
_BEFORE: Final = 256
_DUMMY: Final = struct.Struct("!BBHII")


class Session:
    """
    One direction, for any number of sources.  It replaces pylibsrtp's session, which
    creates one more object and makes three more calls for each packet, and takes 1,500
    bytes.

    @raise SrtpError: libsrtp does not accept the policy.
    @ivar last: the last authentic packet.
    """

    __slots__ = ("_owner", "_session", "last")

    def __init__(self, policy: Policy) -> None:
        owner = ffi.new("srtp_t *")
        if lib.srtp_create(owner, policy._policy):
            raise SrtpError("srtp policy")
        self._owner = ffi.gc(owner, _free)
        self._session = owner[0]
        self.last = b""

    def protect(self, packet: bytes) -> bytes:
        """@raise SrtpError: C{packet} is not RTP, or the key is used up."""
        size = len(packet)
        if size > _MAX_PACKET:
            raise SrtpError("srtp")
        _BYTES[:size] = packet
        _SIZE[0] = size
        if _protect(self._session, _PLACE, _SIZE):
            raise SrtpError("srtp")
        return _BYTES[: _SIZE[0]]  # type: ignore[no-any-return]

    def unprotect(self, packet: bytes) -> bytes:
        """
        @return: the RTP packet; empty: it failed authentication, perhaps because of an
            unknown rollover count.
        @raise SrtpError: it is malformed, or a replay.
        """
        size = len(packet)
        if size > _MAX_PACKET:
            raise SrtpError("srtp")
        _BYTES[:size] = packet
        _SIZE[0] = size
        status = _unprotect(self._session, _PLACE, _SIZE)
        if not status:
            self.last = packet
            return _BYTES[: _SIZE[0]]  # type: ignore[no-any-return]
        if status == _NOT_AUTHENTIC:
            return b""
        raise SrtpError("srtp")

    def protect_rtcp(self, packet: bytes) -> bytes:
        """@raise SrtpError: C{packet} is not RTCP, or the key is used up."""
        return self._rtcp(lib.srtp_protect_rtcp, packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """@raise SrtpError: C{packet} is to be dropped."""
        return self._rtcp(lib.srtp_unprotect_rtcp, packet)

    def remove_stream(self, ssrc: int) -> None:
        """Forget a source.  An unknown one is ignored."""
        lib.srtp_remove_stream(self._session, htonl(ssrc))

    def _rtcp(self, function: Callable[..., int], packet: bytes) -> bytes:
        size = len(packet)
        if size <= _MAX_PACKET:
            _BYTES[:size] = packet
            _SIZE[0] = size
            if not function(self._session, _PLACE, _SIZE):
                return _BYTES[: _SIZE[0]]  # type: ignore[no-any-return]
        raise SrtpError("srtcp")


def _free(owner: Any) -> None:
    lib.srtp_dealloc(owner[0])


_protect: Final = lib.srtp_protect
_unprotect: Final = lib.srtp_unprotect


class SrtpCodec:
    """
    Protects sent packets, and authenticates and decrypts received ones.

    @param ssrc: a source that was received under an earlier key.
    @param rollovers: its rollover count.
    @ivar unprotect_usual: a faster L{unprotect}.  It returns an empty result if the
        packet has to be given to L{unprotect}.
    """

    __slots__ = (
        *("_inbound", "_keys", "_known", "_trial"),
        *("protect", "protect_rtcp", "unprotect_rtcp", "unprotect_usual"),
    )

    def __init__(
        self, keys: SrtpKeys, ssrc: int | None = None, rollovers: int = 0
    ) -> None:
        outbound = Session(_policy(keys.profile, keys.local, Policy.SSRC_ANY_OUTBOUND))
        inbound = Session(_policy(keys.profile, keys.remote, Policy.SSRC_ANY_INBOUND))
        self.protect: Callable[[bytes], bytes] = outbound.protect
        self.protect_rtcp: Callable[[bytes], bytes] = outbound.protect_rtcp
        self.unprotect_rtcp: Callable[[bytes], bytes] = inbound.unprotect_rtcp
        # Called for every packet, so bound directly.
        self.unprotect_usual: Callable[[bytes], bytes] = inbound.unprotect
        self._inbound = inbound
        self._keys = keys
        self._known = ssrc, rollovers
        self._trial: tuple[Session, Session] | None = None

    def unprotect(self, packet: bytes) -> bytes:
        """@raise SrtpError: C{packet} is to be dropped."""
        plain = self._inbound.unprotect(packet)
        if plain:
            return plain
        if packet[8:12] == self._inbound.last[8:12]:
            raise SrtpError("srtp")
        return self._unprotect_first(packet)

    def _unprotect_first(self, packet: bytes) -> bytes:
        """
        Decrypt the first packet of a source whose sequence number has already rolled
        over: it began near the end of the range, or did not reset its count under a
        new key (RFC 3711 section 3.3.1).

        @raise SrtpError: the packet is not valid with these counts either.
        """
        number = int.from_bytes(packet[2:4])
        ssrc, rollovers = self._known
        counts = {1} if number < 0x8000 else set()
        if ssrc == int.from_bytes(packet[8:12]):
            counts.update((rollovers, rollovers + 1))
        for count in sorted(counts - {0}):
            plain = self._unprotect_counted(packet, count * 0x10000 + number)
            if plain is not None:
                return plain
        raise SrtpError("srtp")

    def _unprotect_counted(self, packet: bytes, index: int) -> bytes | None:
        """Decrypt in a trial context first, as a context cannot be set back."""
        sender, receiver = self._trial or self._new_trial()
        ssrc = int.from_bytes(packet[8:12])
        last = index - _BEFORE
        # As the peer would have sent them.
        dummies = [
            sender.protect(_DUMMY.pack(0x80, 0, at & 0xFFFF, 0, ssrc))
            for at in (*range(last % _STEP, last, _STEP), last)
        ]
        try:
            for dummy in dummies:
                receiver.unprotect(dummy)
            if not receiver.unprotect(packet):
                return None
            for dummy in dummies:
                self._inbound.unprotect(dummy)
            return self._inbound.unprotect(packet) or None
        except SrtpError:
            return None
        finally:
            # Strangers can send any number of sources.
            sender.remove_stream(ssrc)
            receiver.remove_stream(ssrc)

    def _new_trial(self) -> tuple[Session, Session]:
        profile, key = self._keys.profile, self._keys.remote
        self._trial = (
            Session(_policy(profile, key, Policy.SSRC_ANY_OUTBOUND)),
            Session(_policy(profile, key, Policy.SSRC_ANY_INBOUND)),
        )
        return self._trial
