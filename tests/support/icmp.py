"""Sends ICMP messages, as a router or firewall on the path does; needs root."""

from __future__ import annotations

import socket
import struct
from typing import Final

from chime_gateway.rtp.ports import Address

#: Codes of "destination unreachable" (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812).
CODES: Final = range(16)

_UNREACHABLE: Final = 3
_UDP: Final = 17
_UDP_BYTES: Final = 8
_IP: Final = struct.Struct("!BBHHHBBH4s4s")
_QUOTED_BYTES: Final = _IP.size + _UDP_BYTES


def unreachable(code: int, source: Address, destination: Address) -> bool:
    """
    Tell C{source} that its datagram to C{destination} did not arrive; IPv4.

    @return: whether this process may send ICMP.
    """
    ours, theirs = (socket.inet_aton(host) for host, _ in (source, destination))
    quoted = _IP.pack(0x45, 0, _QUOTED_BYTES, 1, 0, 64, _UDP, 0, ours, theirs)
    quoted += struct.pack("!HHHH", source[1], destination[1], _UDP_BYTES, 0)
    head = struct.pack("!BB", _UNREACHABLE, code)
    checksum = struct.pack("!H", _checksum(head + bytes(6) + quoted))
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except OSError:
        return False
    with raw:
        raw.sendto(head + checksum + bytes(4) + quoted, (source[0], 0))
    return True


def _checksum(data: bytes) -> int:
    total: int = sum(number for (number,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF
