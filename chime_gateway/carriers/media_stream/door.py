"""
The first check of HTTP requests for a media stream: 401 or 403 without the right
credentials, 503 when no new call is accepted.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen
from twisted.web.server import Request

from chime_gateway.carriers.media_stream.credentials import (
    StreamAuth,
    UpgradeRequest,
    Verdict,
)
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.switchboard import Switchboard

#: As in C{/ready}.
_RETRY_AFTER: Final = b"5"


def host_of(address: object) -> str:
    """Return the host of an address; empty for a Unix socket."""
    return getattr(address, "host", "")


def upgrade_of(request: Request) -> UpgradeRequest:
    """Return the part of a request that L{StreamAuth} checks."""
    return UpgradeRequest(
        {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        },
        request.uri.decode("latin-1"),
        host_of(request.getHost()),
    )


def say(request: Request, status: int, why: str) -> bytes:
    """
    Set up a plain-text response.

    @return: its body.
    """
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    return f"{why}\n".encode()


@frozen
class Door:
    """
    Decides whether a request may go on.

    @ivar carrier: the carrier's name, under which refused requests are counted.
    @ivar needs_credentials: C{False}: a request may bring its credentials later.
    @ivar fails_over: as in C{CarrierTraits}.
    """

    auth: StreamAuth
    switchboard: Switchboard
    carrier: str
    needs_credentials: bool
    fails_over: bool = False

    def stranger(self, request: Request, asked: UpgradeRequest) -> bytes | None:
        """Refuse a request without the right credentials; C{None}: they are right."""
        if not asked.headers.get("authorization", "").isascii():
            return say(request, 400, "Authorization has bytes beyond ASCII")
        verdict = self.auth.check_upgrade(asked)
        is_missing = verdict is Verdict.MISSING and self.needs_credentials
        if verdict is not Verdict.DENIED and not is_missing:
            return None
        why = "no credentials" if is_missing else "wrong credentials"
        self.turned_away(Outcome.UNAUTHORIZED, why)
        request.setHeader(b"WWW-Authenticate", b"Bearer")
        return say(request, 401 if is_missing else 403, why)

    def full(self, request: Request) -> bytes | None:
        """
        Refuse a request while no call is accepted; C{None}: calls are accepted.

        Call it once per request.
        """
        shut = self.switchboard.door(self.fails_over)
        return None if shut is None else self.refuse(request, shut)

    def refuse(self, request: Request, why: str) -> bytes:
        """Refuse a request because of the gateway's state."""
        self.turned_away(Outcome.REFUSED, why)
        request.setHeader(b"Retry-After", _RETRY_AFTER)
        return say(request, 503, why)

    def turned_away(self, outcome: Outcome, why: str) -> None:
        self.switchboard.turned_away(self.carrier, Ending(outcome, why))
