"""
Decides who may open a media stream.

There are four credentials: a bearer secret, the same secret in C{X-Gateway-Secret}, a
signed token that expires (in the query, or in C{customParameters.token} where query
strings are stripped), and Twilio's signature.  This module checks them; the listener
refuses the peer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final
from urllib.parse import parse_qs

from attrs import define, field, frozen

from chime_gateway.net.strangers.own_names import is_own_name

#: The version of the token, which is signed as well.
_TOKEN_PREFIX: Final = "v1"


class Verdict(Enum):
    GRANTED = "granted"
    #: No credentials; they may still come in C{start}.
    MISSING = "missing"
    DENIED = "denied"


def sign_token(secret: str, expires_at: int) -> str:
    """
    Return a token that opens streams until C{expires_at} (Unix seconds):
    C{v1.<expires>.<base64url of HMAC-SHA256 over "v1.<expires>">}.
    """
    body = f"{_TOKEN_PREFIX}.{expires_at}"
    return f"{body}.{_signature(secret, body)}"


def _signature(secret: str, body: str) -> str:
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


@frozen
class UpgradeRequest:
    """
    The HTTP request with which a WebSocket client connected.

    @ivar headers: by lower-case name.
    @ivar uri: path and query, as in the request line.
    @ivar reached_at: the gateway's address on this connection.
    """

    headers: Mapping[str, str] = field(repr=False)
    uri: str = field(repr=False)
    reached_at: str = ""


@define
class StreamAuth:
    """
    Checks credentials.  The secrets may be changed while streams are open.

    @ivar shared_secret: empty: every peer may connect that uses a host name of this
        machine, except web pages of other sites.
    @ivar twilio_auth_token: the key of C{X-Twilio-Signature}; empty: the shared secret
        is used.
    @ivar public_address: the host name under which a proxy publishes the gateway, and
        which Twilio connects to.
    @ivar wall_time: Unix seconds.
    """

    shared_secret: str = field(repr=False)
    twilio_auth_token: str = field(repr=False)
    public_address: str
    wall_time: Callable[[], float] = field(repr=False)

    def check_upgrade(self, request: UpgradeRequest) -> Verdict:
        if not self.shared_secret and not self.twilio_auth_token:
            return self._check_page(request)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._verdict(self._is_secret(bearer.strip()))
        secret = request.headers.get("x-gateway-secret")
        if secret is not None:
            return self._verdict(self._is_secret(secret))
        token = parse_qs(request.uri.partition("?")[2]).get("token")
        if token:
            return self._verdict(self.is_token(token[0]))
        signature = request.headers.get("x-twilio-signature")
        if signature is not None:
            if self._is_signed_by_twilio(request, signature):
                return Verdict.GRANTED
            # Without Twilio's key the signature cannot be checked: a token in C{start}
            # is needed.
            return Verdict.DENIED if self.twilio_auth_token else Verdict.MISSING
        return Verdict.MISSING

    def is_token(self, token: str) -> bool:
        """Return whether C{token} is signed with the secret and has not expired."""
        if not self.shared_secret:
            return False
        body, _, signature = token.rpartition(".")
        version, _, expires_at = body.partition(".")
        if not _same(signature, _signature(self.shared_secret, body)):
            return False
        return (
            version == _TOKEN_PREFIX
            and expires_at.isdecimal()
            and self.wall_time() < int(expires_at)
        )

    def _is_secret(self, given: str) -> bool:
        if not self.shared_secret:
            return False
        return _same(given, self.shared_secret) or self.is_token(given)

    @staticmethod
    def _verdict(granted: bool) -> Verdict:
        return Verdict.GRANTED if granted else Verdict.DENIED

    def _check_page(self, request: UpgradeRequest) -> Verdict:
        """
        Check the host and the origin of a request, where there is no secret.

        A browser sends the origin of the page that opens the socket.  Otherwise any
        web page could use a gateway on its visitor's machine.
        """
        host = request.headers.get("host", "")
        is_own_host = is_own_name(host, request.reached_at, self.public_address)
        origin = request.headers.get("origin")
        is_same_origin = origin is None or origin.partition("://")[2] == host
        return self._verdict(is_own_host and is_same_origin)

    def _is_signed_by_twilio(self, request: UpgradeRequest, signature: str) -> bool:
        """
        Check an HMAC-SHA1 with the account's token over the URL that Twilio requested.

        Behind a proxy the scheme is not known, so each possible one is tried.  The
        host is the configured one: the request can name any, and then a signature for
        another service of the account would be valid here.
        """
        key, host = self.twilio_auth_token or self.shared_secret, self.public_address
        return bool(host) and any(
            _same(signature, self._twilio_signature(key, f"{scheme}://{host}{uri}"))
            for scheme in ("wss", "https", "ws", "http")
            for uri in (request.uri, request.uri.rstrip("/") + "/")
        )

    @staticmethod
    def _twilio_signature(key: str, url: str) -> str:
        digest = hmac.new(key.encode(), url.encode(), hashlib.sha1).digest()
        return base64.b64encode(digest).decode()
