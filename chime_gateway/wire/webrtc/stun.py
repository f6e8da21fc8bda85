"""
Reads and writes the STUN messages of ICE: Binding requests and their responses (RFC
8489, RFC 8445 section 16).
"""

from __future__ import annotations

import hmac
import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from attrs import field, frozen

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.address import canonical

MAGIC_COOKIE: Final = 0x2112A442
BINDING: Final = 1
HEADER_BYTES: Final = 20
TRANSACTION_BYTES: Final = 12

#: Maximum size: a datagram without fragmentation; ICE's messages have some 100 bytes.
MOST_BYTES: Final = 1500
_MOST_ATTRIBUTES: Final = 32
_MOST_USERNAME_BYTES: Final = 513
_MOST_REASON_BYTES: Final = 763

_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_XOR_MAPPED_ADDRESS: Final = 0x0020
_PRIORITY: Final = 0x0024
_USE_CANDIDATE: Final = 0x0025
_FINGERPRINT: Final = 0x8028
_ICE_CONTROLLED: Final = 0x8029
_ICE_CONTROLLING: Final = 0x802A

#: Attributes that are understood, or harmless in a Binding: not refused with 420.  The
#: numbers are MAPPED-ADDRESS, REALM, NONCE and MESSAGE-INTEGRITY-SHA256.
_KNOWN: Final = frozenset(
    (
        *(_USERNAME, _MESSAGE_INTEGRITY, _ERROR_CODE, _UNKNOWN_ATTRIBUTES),
        *(_XOR_MAPPED_ADDRESS, _PRIORITY, _USE_CANDIDATE),
        *(0x0001, 0x0014, 0x0015, 0x001C),
    )
)

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_FINGERPRINT_XOR: Final = 0x5354554E
_FINGERPRINT_BYTES: Final = 8
_INTEGRITY_BYTES: Final = 24

#: RFC 8489 section 14.8, RFC 8445 section 16.2.
UNKNOWN_ATTRIBUTE: Final = (420, "Unknown Attribute")
ROLE_CONFLICT: Final = (487, "Role Conflict")


class StunError(RemoteProtocolError):
    """The data is not a STUN message; the text is a metric's label."""


class MessageClass(IntEnum):
    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


@frozen(kw_only=True)
class Message:
    """
    A message that was read, or is to be written.

    @ivar controlling: the sender's tie-breaker, if it has the controlling role.
    @ivar controlled: the sender's tie-breaker, if it has the controlled role.
    @ivar mapped: XOR-MAPPED-ADDRESS: host and port.
    @ivar error: a code from 300 to 699, and its reason.
    @ivar unknown: unknown comprehension-required attributes; written as
        UNKNOWN-ATTRIBUTES.
    """

    message_class: MessageClass
    transaction: bytes
    method: int = BINDING
    username: str | None = None
    priority: int | None = None
    use_candidate: bool = False
    controlling: int | None = None
    controlled: int | None = None
    mapped: tuple[str, int] | None = None
    error: tuple[int, str] | None = None
    unknown: tuple[int, ...] = ()
    _signed: tuple[bytes, bytes] | None = field(default=None, repr=False, eq=False)

    def is_signed_by(self, password: str) -> bool:
        """
        Whether it has a MESSAGE-INTEGRITY that was made with this password (RFC 8489
        section 14.5).
        """
        if self._signed is None:
            return False
        text, digest = self._signed
        return hmac.compare_digest(_digest(password, text), digest)

    def success(self, mapped: tuple[str, int]) -> Message:
        """
        Make the success response to this request.

        @param mapped: the address that the request came from.
        """
        return Message(
            message_class=MessageClass.SUCCESS,
            transaction=self.transaction,
            mapped=mapped,
        )

    def failure(self, error: tuple[int, str]) -> Message:
        """Make the error response to this request, with its unknown attributes."""
        return Message(
            message_class=MessageClass.ERROR,
            transaction=self.transaction,
            error=error,
            unknown=self.unknown,
        )


def _digest(password: str, text: bytes) -> bytes:
    return hmac.digest(password.encode("ascii", "replace"), text, "sha1")


# -- reading -----------------------------------------------------------------


def decode(data: bytes) -> Message:
    """
    Read a message.

    @raise StunError: it is not a STUN message, or its fingerprint is wrong.
    """
    end = len(data)
    if not HEADER_BYTES <= end <= MOST_BYTES:
        raise StunError("size")
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind >> 14 or cookie != MAGIC_COOKIE or length % 4:
        raise StunError("header")
    if HEADER_BYTES + length != end:
        raise StunError("length")
    values: dict[int, bytes] = {}
    signed: tuple[bytes, bytes] | None = None
    at = HEADER_BYTES
    while at < end:
        # All lengths are multiples of four, so four bytes are left.
        attribute, size = _ATTRIBUTE.unpack_from(data, at)
        start, behind = at + 4, at + 4 + size
        if behind > end:
            raise StunError("attribute")
        value = data[start:behind]
        if attribute == _FINGERPRINT:
            _check_fingerprint(data, at, value)
        elif signed is not None:
            pass  # RFC 8489 section 14.5: attributes after the integrity are ignored
        elif attribute == _MESSAGE_INTEGRITY:
            if size != 20:
                raise StunError("integrity")
            text = _HEADER.pack(kind, behind - HEADER_BYTES, cookie, transaction)
            signed = text + data[HEADER_BYTES:at], value
        else:
            # Of a repeated attribute, the first one is used (section 14).
            values.setdefault(attribute, value)
            if len(values) > _MOST_ATTRIBUTES:
                raise StunError("attributes")
        at = behind + -size % 4
    return Message(
        message_class=MessageClass(kind >> 7 & 2 | kind >> 4 & 1),
        transaction=transaction,
        method=kind >> 2 & 0xF80 | kind >> 1 & 0x70 | kind & 0xF,
        username=_username(values.get(_USERNAME)),
        priority=_number(values.get(_PRIORITY), 4),
        use_candidate=_USE_CANDIDATE in values,
        controlling=_number(values.get(_ICE_CONTROLLING), 8),
        controlled=_number(values.get(_ICE_CONTROLLED), 8),
        mapped=_address(values.get(_XOR_MAPPED_ADDRESS), data),
        error=_error(values.get(_ERROR_CODE)),
        unknown=tuple(one for one in values if one < 0x8000 and one not in _KNOWN),
        signed=signed,
    )


def _check_fingerprint(data: bytes, at: int, value: bytes) -> None:
    """Check the fingerprint, which must be the last (RFC 8489 section 14.7)."""
    if len(value) != 4 or at + _FINGERPRINT_BYTES != len(data):
        raise StunError("fingerprint")
    if int.from_bytes(value, "big") != zlib.crc32(data[:at]) ^ _FINGERPRINT_XOR:
        raise StunError("fingerprint")


def _username(value: bytes | None) -> str | None:
    """Decode a user name; one that is not UTF-8 will not match any of ours."""
    if value is None:
        return None
    if len(value) > _MOST_USERNAME_BYTES:
        raise StunError("username")
    return value.decode("utf-8", "replace")


def _number(value: bytes | None, size: int) -> int | None:
    if value is None:
        return None
    if len(value) != size:
        raise StunError("number")
    return int.from_bytes(value, "big")


def _address(value: bytes | None, data: bytes) -> tuple[str, int] | None:
    """Read XOR-MAPPED-ADDRESS (RFC 8489 section 14.2)."""
    if value is None:
        return None
    # It is XORed with the cookie and the transaction id, from byte 4 of the message.
    size = {b"\x01": 4, b"\x02": 16}.get(value[1:2])
    if size is None or len(value) != 4 + size:
        raise StunError("address")
    port = int.from_bytes(value[2:4], "big") ^ MAGIC_COOKIE >> 16
    packed = _xor(value[4:], data[4 : 4 + size])
    host = IPv4Address(packed) if size == 4 else IPv6Address(packed)
    return canonical(str(host)), port


def _error(value: bytes | None) -> tuple[int, str] | None:
    if value is None:
        return None
    if len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        raise StunError("error")
    reason = value[4 : 4 + _MOST_REASON_BYTES].decode("utf-8", "replace")
    return (value[2] & 7) * 100 + value[3], reason


def _xor(one: bytes, other: bytes) -> bytes:
    number = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return number.to_bytes(len(one), "big")


# -- writing -----------------------------------------------------------------


def encode(message: Message, password: str | None = None) -> bytes:
    """
    Write a message, with FINGERPRINT at its end.

    @param password: password for MESSAGE-INTEGRITY; in ICE, that of the side that
        answers.
    """
    group, method = message.message_class, message.method
    kind = (method & 0xF80) << 2 | (method & 0x70) << 1 | method & 0xF
    kind |= (group & 2) << 7 | (group & 1) << 4
    body = b"".join(_attributes(message))
    if password is not None:
        size = len(body) + _INTEGRITY_BYTES
        text = _HEADER.pack(kind, size, MAGIC_COOKIE, message.transaction) + body
        body += _attribute(_MESSAGE_INTEGRITY, _digest(password, text))
    size = len(body) + _FINGERPRINT_BYTES
    text = _HEADER.pack(kind, size, MAGIC_COOKIE, message.transaction) + body
    check = zlib.crc32(text) ^ _FINGERPRINT_XOR
    return text + _attribute(_FINGERPRINT, check.to_bytes(4, "big"))


def _attributes(message: Message) -> Iterator[bytes]:
    if message.username is not None:
        yield _attribute(_USERNAME, message.username.encode())
    if message.priority is not None:
        yield _attribute(_PRIORITY, message.priority.to_bytes(4, "big"))
    if message.use_candidate:
        yield _attribute(_USE_CANDIDATE, b"")
    if message.controlling is not None:
        yield _attribute(_ICE_CONTROLLING, message.controlling.to_bytes(8, "big"))
    if message.controlled is not None:
        yield _attribute(_ICE_CONTROLLED, message.controlled.to_bytes(8, "big"))
    if message.mapped is not None:
        yield _attribute(_XOR_MAPPED_ADDRESS, _mapped(message))
    if message.error is not None:
        code, reason = message.error
        head = bytes((0, 0, code // 100, code % 100))
        yield _attribute(_ERROR_CODE, head + reason.encode())
    if message.unknown:
        values = struct.pack(f"!{len(message.unknown)}H", *message.unknown)
        yield _attribute(_UNKNOWN_ATTRIBUTES, values)


def _mapped(message: Message) -> bytes:
    assert message.mapped is not None
    host, port = message.mapped
    packed = ip_address(host).packed
    key = MAGIC_COOKIE.to_bytes(4, "big") + message.transaction
    family = 1 if len(packed) == 4 else 2
    head = _ATTRIBUTE.pack(family, port ^ MAGIC_COOKIE >> 16)
    return head + _xor(packed, key[: len(packed)])


def _attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(kind, len(value)) + value + padding
