"""
Tells where a request comes from: from a holder of the admin token, from this machine,
or from a stranger.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from ipaddress import ip_address
from typing import Final

from twisted.internet.address import UNIXAddress
from twisted.web.server import Request

from chime_gateway.net.strangers.own_names import is_own_name

#: Headers that proxies add.  A proxy on this machine may act for a client elsewhere.
_FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class Shown(Enum):
    """The kind of credentials that a request has in C{Authorization}."""

    RIGHT = "right"
    WRONG = "wrong"
    NOTHING = "nothing"
    #: It contains bytes that credentials cannot have (RFC 9110 section 11.4).
    MALFORMED = "malformed"


class AdminToken:
    """
    The token that opens the API and the metrics.

    @param token: empty if no token is set; then no request is authorized.
    """

    def __init__(self, token: str) -> None:
        self.change(token)

    def change(self, token: str) -> None:
        """Use another token from now on."""
        self._digest = hashlib.sha256(token.encode()).digest()
        self.is_set = bool(token)

    def shown(self, request: Request) -> Shown:
        given = request.getHeader(b"authorization")
        if not given:
            return Shown.NOTHING
        if not given.isascii():
            return Shown.MALFORMED
        scheme, _, token = given.partition(b" ")
        # Digests are compared, so the time taken reveals nothing about the token, not
        # even its length.
        digest = hashlib.sha256(token.strip()).digest()
        is_same = hmac.compare_digest(digest, self._digest)
        is_right = self.is_set and scheme.lower() == b"bearer" and is_same
        return Shown.RIGHT if is_right else Shown.WRONG


def is_local(request: Request, public_address: str) -> bool:
    """
    Return whether a request comes from this machine, neither through a proxy on it
    nor from a foreign web page whose host name resolves to it (DNS rebinding).
    """
    if any(request.getHeader(name) is not None for name in _FORWARDED):
        return False
    address = request.getClientAddress()
    if isinstance(address, UNIXAddress):
        return True  # a web page cannot open a UNIX socket
    host = (request.getHeader(b"host") or b"").decode("latin-1")
    reached_at = getattr(request.getHost(), "host", "")
    if not is_own_name(host, reached_at, public_address):
        return False
    try:
        found = ip_address(getattr(address, "host", "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
