"""
The part of STUN that an ICE-lite agent needs: reads Binding requests and writes their
responses (RFC 8489).
"""

from __future__ import annotations

import hmac
import struct
from binascii import crc32
from hashlib import sha1
from typing import Final

from attrs import field, frozen

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_COOKIE: Final = 0x2112A442

#: Types of messages.
_REQUEST, _SUCCESS, _ERROR = 0x0001, 0x0101, 0x0111

#: Types of attributes (RFC 8489 section 18.3, RFC 8445 section 16.1).
_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_XOR_MAPPED_ADDRESS: Final = 0x0020
_USE_CANDIDATE: Final = 0x0025
_FINGERPRINT: Final = 0x8028
_ICE_CONTROLLED: Final = 0x8029
_ICE_CONTROLLING: Final = 0x802A

_INTEGRITY_BYTES: Final = _ATTRIBUTE.size + 20
_FINGERPRINT_BYTES: Final = _ATTRIBUTE.size + 4
_FINGERPRINT_XOR: Final = 0x5354554E


@frozen
class BindingRequest:
    """
    A Binding request.

    @ivar username: C{receiver:sender}, their ICE user fragments.
    @ivar is_nominating: it has C{USE-CANDIDATE}.
    @ivar is_controlling: the sender's role; C{None}: the request does not state it.
    """

    transaction: bytes
    username: str
    is_nominating: bool
    is_controlling: bool | None
    _signed: bytes = field(repr=False)
    _proof: bytes = field(repr=False)

    def is_signed_with(self, password: str) -> bool:
        """Check MESSAGE-INTEGRITY (RFC 8489 section 14.5)."""
        expected = hmac.digest(password.encode(), self._signed, "sha1")
        return hmac.compare_digest(expected, self._proof)


def read_request(data: bytes) -> BindingRequest | None:
    """Read a Binding request of ICE; return C{None} for anything else."""
    if len(data) < _HEADER.size:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    whole = _HEADER.size + length
    if kind != _REQUEST or cookie != _COOKIE or length % 4 or whole != len(data):
        return None
    found: dict[int, bytes] = {}
    signed = b""
    at = _HEADER.size
    while at + _ATTRIBUTE.size <= whole:
        name, size = _ATTRIBUTE.unpack_from(data, at)
        end = at + _ATTRIBUTE.size + size
        if end > whole:
            return None
        if name == _FINGERPRINT:
            found[name] = data[at + _ATTRIBUTE.size : end]
            if _fingerprint(data[:at]) != data[at:end] or end != whole:
                return None
        elif not signed:  # attributes after MESSAGE-INTEGRITY are not authenticated
            found[name] = data[at + _ATTRIBUTE.size : end]
            if name == _MESSAGE_INTEGRITY:
                signed = _with_length(data[:at], _INTEGRITY_BYTES)
        at = end + -size % 4
    if not signed or _FINGERPRINT not in found or _USERNAME not in found:
        return None
    is_controlling = None
    if _ICE_CONTROLLING in found or _ICE_CONTROLLED in found:
        is_controlling = _ICE_CONTROLLING in found
    return BindingRequest(
        transaction,
        found[_USERNAME].decode("utf-8", "replace"),
        _USE_CANDIDATE in found,
        is_controlling,
        signed,
        found[_MESSAGE_INTEGRITY],
    )


def success(request: BindingRequest, password: str, address: tuple[str, int]) -> bytes:
    """
    Return the success response.

    @param address: the request's source address.
    """
    host, port = address
    number = int.from_bytes(bytes(int(part) for part in host.split(".")))
    mapped = struct.pack("!BBHI", 0, 1, port ^ (_COOKIE >> 16), number ^ _COOKIE)
    return _message(_SUCCESS, request, password, _XOR_MAPPED_ADDRESS, mapped)


def role_conflict(request: BindingRequest, password: str) -> bytes:
    """
    Return error 487, as both sides are in the controlled role (RFC 8445 section
    7.3.1.1).
    """
    value = struct.pack("!HBB", 0, 4, 87) + b"Role Conflict   "
    return _message(_ERROR, request, password, _ERROR_CODE, value)


def _message(
    kind: int, request: BindingRequest, password: str, name: int, value: bytes
) -> bytes:
    body = _ATTRIBUTE.pack(name, len(value)) + value
    data = _HEADER.pack(kind, len(body), _COOKIE, request.transaction) + body
    data = _with_length(data, _INTEGRITY_BYTES)
    proof = hmac.new(password.encode(), data, sha1).digest()
    data += _ATTRIBUTE.pack(_MESSAGE_INTEGRITY, len(proof)) + proof
    data = _with_length(data, _FINGERPRINT_BYTES)
    return data + _fingerprint(data)


def _with_length(data: bytes, more: int) -> bytes:
    """Set the header's length, which includes C{more} bytes still to be added."""
    length = len(data) - _HEADER.size + more
    return data[:2] + struct.pack("!H", length) + data[4:]


def _fingerprint(before: bytes) -> bytes:
    """Return FINGERPRINT, which covers everything before it (RFC 8489 section 14.7)."""
    value = crc32(before) ^ _FINGERPRINT_XOR
    return _ATTRIBUTE.pack(_FINGERPRINT, 4) + struct.pack("!I", value)
