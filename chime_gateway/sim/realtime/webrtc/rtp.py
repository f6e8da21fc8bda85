"""
SRTP in both directions with one codec (RFC 3550, RFC 3711): puts received audio in
order, and makes the packets to send.

libsrtp does the encryption.
"""

from __future__ import annotations

import secrets
import struct
from typing import Final

from pylibsrtp import Error, Policy, Session

from chime_gateway.audio import Codec
from chime_gateway.sim.realtime.webrtc.dtls import Keys

_HEADER: Final = struct.Struct("!BBHII")
_REPORT: Final = struct.Struct("!BBHIQIII")

#: Seconds from 1900 to 1970.
_NTP_EPOCH_SECONDS: Final = 2208988800

#: A missing packet is given up when this many later packets have arrived.
_MOST_WAITING: Final = 4

#: After a larger gap the peer is assumed to have restarted its numbering.
_MOST_MISSING: Final = 50


class RtpSender:
    def __init__(self, codec: Codec, payload_type: int, keys: Keys) -> None:
        policy = Policy(
            key=keys.local,
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        )
        session = Session(policy)
        self._protect = session.protect
        self._protect_rtcp = session.protect_rtcp
        self._packets = 0
        self._bytes = 0
        self._payload_type = payload_type
        self._samples = codec.frame_bytes // codec.sample_bytes
        self._ssrc = secrets.randbits(32)
        self._number = secrets.randbits(15)
        self._timestamp = secrets.randbits(32)
        self._was_silent = True

    def packet(self, frame: bytes) -> bytes:
        """
        Return the next packet; the first after a pause has the marker bit.

        @param frame: 20 ms of audio.
        """
        marker = 0x80 if self._was_silent else 0
        self._was_silent = False
        header = _HEADER.pack(
            0x80, self._payload_type | marker, self._number, self._timestamp, self._ssrc
        )
        self._number = (self._number + 1) & 0xFFFF
        self._timestamp = (self._timestamp + self._samples) & 0xFFFFFFFF
        self._packets += 1
        self._bytes += len(frame)
        return self._protect(header + frame)

    def report(self, wall_time: float) -> bytes:
        """
        Return a sender report with a source description (RFC 3550 sections 6.4.1 and
        6.5).

        @param wall_time: Unix seconds.
        """
        ntp = int((wall_time + _NTP_EPOCH_SECONDS) * 2**32) & 0xFFFFFFFFFFFFFFFF
        counts = self._packets & 0xFFFFFFFF, self._bytes & 0xFFFFFFFF
        sender = _REPORT.pack(0x80, 200, 6, self._ssrc, ntp, self._timestamp, *counts)
        name = b"\1\3sim\0\0\0"  # CNAME, and the end of the chunk
        source = struct.pack("!BBHI", 0x81, 202, 3, self._ssrc) + name
        return self._protect_rtcp(sender + source)

    def pause(self) -> None:
        """Let 20 ms pass without a packet."""
        self._was_silent = True
        self._timestamp = (self._timestamp + self._samples) & 0xFFFFFFFF


class RtpReceiver:
    """
    Receives packets and returns their audio in order.

    @ivar rejected: the number of invalid packets: forged, repeated, or not audio.
    @ivar lost: the number of packets that never arrived.
    @ivar received: the number of accepted packets.
    @ivar reports: the number of received RTCP packets.
    """

    def __init__(self, codec: Codec, payload_type: int, keys: Keys) -> None:
        policy = Policy(
            key=keys.remote,
            ssrc_type=Policy.SSRC_ANY_INBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        )
        session = Session(policy)
        self._unprotect = session.unprotect
        self._unprotect_rtcp = session.unprotect_rtcp
        self._codec = codec
        self._payload_type = payload_type
        self._next = -1
        self._waiting: dict[int, bytes] = {}
        self.received = 0
        self.rejected = 0
        self.lost = 0
        self.reports = 0

    def audio(self, packet: bytes) -> bytes:
        """Return the audio that is in order now; lost packets become silence."""
        try:
            plain = self._unprotect(packet)
        except (Error, ValueError):
            self.rejected += 1
            return b""
        payload = _payload(plain)
        if plain[1] & 0x7F != self._payload_type or payload is None:
            self.rejected += 1
            return b""
        self.received += 1
        number = int.from_bytes(plain[2:4])
        if self._next < 0:
            self._next = number
        ahead = (number - self._next) & 0xFFFF
        if ahead >= 0x8000:
            return b""  # too late: it was replaced by silence
        if ahead > _MOST_MISSING:
            self._waiting.clear()
            self._next = number
        self._waiting[number] = payload
        return self._in_order()

    def rtcp(self, packet: bytes) -> None:
        try:
            self._unprotect_rtcp(packet)
            self.reports += 1
        except (Error, ValueError):
            self.rejected += 1

    def _in_order(self) -> bytes:
        audio = bytearray()
        while self._waiting:
            payload = self._waiting.pop(self._next, None)
            if payload is None:
                if len(self._waiting) < _MOST_WAITING:
                    break
                self.lost += 1
                payload = self._codec.silence(self._codec.frame_bytes)
            audio += payload
            self._next = (self._next + 1) & 0xFFFF
        return bytes(audio)


def _payload(packet: bytes) -> bytes | None:
    """Return the payload of an RTP packet; C{None} if it is malformed."""
    first, end = packet[0], len(packet)
    start = _HEADER.size + 4 * (first & 0x0F)
    if first >> 6 != 2 or end < start:
        return None
    if first & 0x10:
        if end < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    if first & 0x20:
        end -= packet[-1]
    return packet[start:end] if start <= end else None
