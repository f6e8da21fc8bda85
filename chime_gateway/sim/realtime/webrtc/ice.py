"""
The service's ICE agent: ICE-lite, controlled, and strict about consent (RFC 8445).

It answers checks and sends none.  It answers checks without C{USE-CANDIDATE} for
three seconds only, so a client that sends no others loses consent.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from chime_gateway.sim.realtime.webrtc.stun import (
    BindingRequest,
    role_conflict,
    success,
)

#: How long checks without C{USE-CANDIDATE} are answered, from a call's first check.
LENIENT_SECONDS: Final = 3.0

#: After this time without an answered check, consent is lost (RFC 7675 section 5.1).
CONSENT_SECONDS: Final = 30.0

#: The maximum number of paths of one client.
_MOST_PATHS: Final = 8

#: The path of a datagram: a UDP address or a TCP connection.
Path = Hashable


class IceLite:
    """
    The ICE agent of one call.

    @ivar selected: the path to send to; C{None}: the client has not nominated one yet.
    @ivar answered_at: when the last check was answered; C{None}: none was.
    @ivar is_deaf: checks are not answered.
    @ivar unanswered: the number of valid checks that were not answered.
    @ivar paths: the paths of valid checks.
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
        """Return the response to a check; C{None} if it is not to be answered."""
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
