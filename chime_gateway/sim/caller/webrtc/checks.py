"""
The ICE agent of a simulated caller, which made the offer, towards a public peer: full
ICE in the controlling role (RFC 8445, RFC 7675).

Every check nominates, because the peer is ICE-lite.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from binascii import crc32
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from twisted.internet.interfaces import IReactorTime

from chime_gateway.net.timer import Timer

Address: TypeAlias = tuple[str, int]

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_COOKIE: Final = 0x2112A442
_REQUEST, _SUCCESS = 0x0001, 0x0101
_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_PRIORITY: Final = 0x0024
_USE_CANDIDATE: Final = 0x0025
_FINGERPRINT: Final = 0x8028
_ICE_CONTROLLING: Final = 0x802A

#: The priority of a peer-reflexive candidate, component 1 (RFC 8445 section 5.1.2.1).
_OWN_PRIORITY: Final = 110 << 24 | 65535 << 8 | 255

#: The interval of the checks while there is no path.
_CHECK_SECONDS: Final = 0.1

#: RFC 7675 section 5.1.
_CONSENT_SECONDS: Final = 5.0
_LOST_SECONDS: Final = 30.0


class Checks:
    """
    The connectivity and consent checks of one call.

    @param ufrag: the caller's user fragment; C{remote_ufrag} and C{remote_password}
        are the peer's.
    @param places: the peer's addresses, best first.
    @param send: sends a datagram.
    @param found: called once, with the first address that answers.
    @param lost: called when that address has stopped answering.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        ufrag: str,
        remote_ufrag: str,
        remote_password: str,
        places: Sequence[Address],
        send: Callable[[bytes, Address], None],
        found: Callable[[Address], None],
        lost: Callable[[], None],
    ) -> None:
        self._username = f"{remote_ufrag}:{ufrag}".encode()
        self._password = remote_password.encode()
        self._places = places
        self._send = send
        self._found = found
        self._lost = lost
        self._clock = clock
        self._timer = Timer(clock)
        self._tie_breaker = secrets.token_bytes(8)
        self._sent: dict[bytes, Address] = {}
        self._selected: Address | None = None
        self._answered_at = 0.0

    def start(self) -> None:
        self._tick()

    def stop(self) -> None:
        self._timer.stop()

    def received(self, data: bytes, address: Address) -> None:
        """Handle a datagram that may be the response to a check."""
        transaction = _answered(data, self._password)
        if transaction is None or self._sent.get(transaction) != address:
            return
        self._answered_at = self._clock.seconds()
        if self._selected is None:
            self._selected = address
            self._sent.clear()
            self._timer.start(_CONSENT_SECONDS, self._tick)
            self._found(address)

    def _tick(self) -> None:
        if self._selected is None:
            for place in self._places:
                self._check(place)
            self._timer.start(_CHECK_SECONDS, self._tick)
        elif self._clock.seconds() - self._answered_at >= _LOST_SECONDS:
            self._lost()
        else:
            # Earlier checks are forgotten: no response is 5 s late.
            self._sent.clear()
            self._check(self._selected)
            self._timer.start(_CONSENT_SECONDS, self._tick)

    def _check(self, place: Address) -> None:
        transaction = secrets.token_bytes(12)
        self._sent[transaction] = place
        data = _HEADER.pack(_REQUEST, 0, _COOKIE, transaction) + b"".join(
            (
                _attribute(_USERNAME, self._username),
                _attribute(_PRIORITY, struct.pack("!I", _OWN_PRIORITY)),
                _attribute(_USE_CANDIDATE, b""),
                _attribute(_ICE_CONTROLLING, self._tie_breaker),
            )
        )
        data = _with_length(data, 24)
        proof = hmac.digest(self._password, data, "sha1")
        data = _with_length(data + _attribute(_MESSAGE_INTEGRITY, proof), 8)
        # FINGERPRINT covers everything before it (RFC 8489 section 14.7).
        value = crc32(data) ^ 0x5354554E
        self._send(data + _attribute(_FINGERPRINT, struct.pack("!I", value)), place)


def _attribute(name: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(name, len(value)) + value + bytes(-len(value) % 4)


def _with_length(data: bytes, more: int) -> bytes:
    """Set the header's length, which includes C{more} bytes still to be added."""
    length = len(data) - _HEADER.size + more
    return data[:2] + struct.pack("!H", length) + data[4:]


def _answered(data: bytes, password: bytes) -> bytes | None:
    """
    Return the transaction id of an authenticated success response; C{None} for
    anything else.
    """
    if len(data) < _HEADER.size:
        return None
    kind, _, cookie, transaction = _HEADER.unpack_from(data)
    at = _HEADER.size
    while kind == _SUCCESS and cookie == _COOKIE and at + _ATTRIBUTE.size <= len(data):
        name, size = _ATTRIBUTE.unpack_from(data, at)
        value = data[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + size]
        if name == _MESSAGE_INTEGRITY:
            proof = hmac.digest(password, _with_length(data[:at], 24), "sha1")
            is_good = hmac.compare_digest(proof, value)
            return bytes(transaction) if is_good else None
        at += _ATTRIBUTE.size + size + -size % 4
    return None
