"""
ICE as the service has it: lite, controlled, and strict about consent (RFC 8445).

It answers checks and makes none.  It answers checks without C{USE-CANDIDATE} for
three seconds only, so a client that sends no others loses its consent.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from chime_gateway.sim.realtime.webrtc.stun import (
    BindingRequest,
    role_conflict,
    success,
)

#: From the first check of a call.
LENIENT_SECONDS: Final = 3.0

#: Without a check that was answered the client has gone (RFC 7675 section 5.1).
CONSENT_SECONDS: Final = 30.0

#: Addresses of one client.
_MOST_PATHS: Final = 8

#: What a datagram came by: an address of UDP, or a connection.
Path = Hashable


class IceLite:
    """
    @ivar selected: where to send; C{None}: the client has nominated nothing yet.
    @ivar answered_at: when the last check was answered; C{None}: none was.
    @ivar is_deaf: no check is answered.
    @ivar unanswered: checks that were right, and were not answered.
    @ivar paths: by which a check came that was right.
    """

    def __init__(
        self, ufrag: str, password: str, remote_ufrag: str, *, is_strict: bool
    ) -> None:
        self.selected: Path | None = None
        self.answered_at: float | None = None
        self.is_deaf = False
        self.unanswered = 0
        self.paths: set[Path] = set()
        self._username = f"{ufrag}:{remote_ufrag}"
        self._password = password
        self._is_strict = is_strict
        self._first_at: float | None = None

    def answer(
        self, now: float, request: BindingRequest, path: Path, address: tuple[str, int]
    ) -> bytes | None:
        """The answer to be sent; C{None}: none is due."""
        if request.username != self._username:
            return None
        if not request.is_signed_with(self._password):
            return None
        if request.is_controlling is False:
            return role_conflict(request, self._password)
        if path not in self.paths and len(self.paths) >= _MOST_PATHS:
            return None
        self.paths.add(path)
        if self._first_at is None:
            self._first_at = now
        is_late = now - self._first_at > LENIENT_SECONDS
        is_refused = self._is_strict and is_late and not request.is_nominating
        if self.is_deaf or is_refused:
            self.unanswered += 1
            return None
        self.answered_at = now
        if request.is_nominating:
            self.selected = path
        return success(request, self._password, address)
