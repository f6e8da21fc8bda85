"""
Messages of STUN as ICE uses them: binding requests and their answers (RFC 8489,
RFC 8445 section 16).

Bytes in, values out.  Which check a message belongs to is not known here.
"""

from __future__ import annotations

import hmac
import struct
import zlib
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from attrs import field, frozen

from chime_gateway.errors import RemoteProtocolError

MAGIC_COOKIE: Final = 0x2112A442
BINDING: Final = 1
HEADER_BYTES: Final = 20
TRANSACTION_BYTES: Final = 12

#: One datagram that no network cuts; a message of ICE has about 100.
MOST_BYTES: Final = 1500
_MOST_ATTRIBUTES: Final = 32
_MOST_USERNAME_BYTES: Final = 513

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

#: Understood, or harmless in a binding: not answered with 420.  MAPPED-ADDRESS,
#: REALM, NONCE and MESSAGE-INTEGRITY-SHA256 besides.
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

ROLE_CONFLICT: Final = 487


class StunError(RemoteProtocolError):
    """Not a STUN message; the text is a label for counting it."""


class MessageClass(IntEnum):
    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


@frozen(kw_only=True)
class Message:
    """
    A message, read or to be written.

    @ivar controlling: the sender's tie-breaker, if it takes this role.
    @ivar controlled: likewise.
    @ivar mapped: XOR-MAPPED-ADDRESS: host and port.
    @ivar error: a code from 300 to 699 and its reason.
    @ivar unknown: comprehension-required attributes that are not known here; written
        as UNKNOWN-ATTRIBUTES.
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
        Whether its MESSAGE-INTEGRITY (RFC 8489 section 14.5) was made with this
        password; without one it is not.
        """
        raise NotImplementedError


def decode(data: bytes) -> Message:
    """
    @raise StunError: it is none, or its fingerprint is wrong.
    """
    raise NotImplementedError


def encode(message: Message, password: str | None = None) -> bytes:
    """
    With FINGERPRINT at its end.

    @param password: to sign it with (MESSAGE-INTEGRITY); of ICE, that of the side
        that answers.
    """
    raise NotImplementedError
