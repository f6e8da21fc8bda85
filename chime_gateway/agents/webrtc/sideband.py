"""
The sideband of a call over WebRTC: a WebSocket for its events, opened with the call's
id.

Right after its answer a service may not have registered the call yet, so opening the
sideband is retried for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from chime_gateway.agents.websocket import (
    EventSocket,
    HandshakeRefused,
    SocketUser,
)
from chime_gateway.errors import AgentUnavailable
from chime_gateway.net.lean_websocket import CLOSE_NORMAL
from chime_gateway.net.timer import Timer

#: How long to retry, with growing pauses.
RETRY_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0

#: Answers that do not mean that the call is not registered yet.
_FINAL_STATUS: Final = frozenset({401, 403})


class Dial(Protocol):
    """Starts opening a socket; returns a function that cancels this."""

    def __call__(self, user: SocketUser) -> Callable[[], None]: ...


class Sideband:
    """
    The sideband of one session.

    @param session: gets the socket when it is open, or a report that none could be
        opened.
    @param dial: called again for each retry.
    """

    def __init__(self, session: SocketUser, dial: Dial, clock: IReactorTime) -> None:
        self._session: SocketUser | None = session
        self._dial = dial
        self._clock = clock
        self._timer = Timer(clock)
        self._pause = _FIRST_PAUSE_SECONDS
        self._until = 0.0
        self._attempt: _Attempt | None = None
        self._give_up: Callable[[], None] | None = None

    def open(self) -> None:
        self._until = self._clock.seconds() + RETRY_SECONDS
        self._try()

    def close(self) -> None:
        """Stop trying.  The session closes a socket that is open."""
        self._timer.stop()
        self._session = self._attempt = None
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            give_up()

    def _try(self) -> None:
        self._give_up = None
        self._attempt = attempt = _Attempt(self)
        give_up = self._dial(attempt)
        if self._attempt is attempt:
            self._give_up = give_up

    def take(self, attempt: _Attempt) -> SocketUser | None:
        """
        The socket of this attempt is open.

        @return: the session that gets it; C{None}: it is not wanted any more.
        """
        if attempt is not self._attempt:
            return None
        session, self._session = self._session, None
        self._attempt = self._give_up = None
        return session

    def failed(self, attempt: _Attempt, why: AgentUnavailable) -> None:
        session = self._session
        if attempt is not self._attempt or session is None:
            return
        self._attempt = None
        is_final = isinstance(why, HandshakeRefused) and why.status in _FINAL_STATUS
        pause = self._pause
        if is_final or self._clock.seconds() + pause > self._until:
            self._session = None
            session.handshake_failed(why)
            return
        self._pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        self._timer.start(pause, self._try)


class _Attempt:
    """The owner of one socket until the session takes it."""

    def __init__(self, sideband: Sideband) -> None:
        self._sideband: Sideband | None = sideband
        self._session: SocketUser | None = None

    def opened(self, socket: EventSocket) -> None:
        sideband, self._sideband = self._sideband, None
        self._session = None if sideband is None else sideband.take(self)
        if self._session is None:
            socket.close(CLOSE_NORMAL, "")
        else:
            self._session.opened(socket)

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if self._session is not None:
            self._session.message_received(payload, is_binary)

    def frame_came(self) -> bool:
        return self._session is None or self._session.frame_came()

    def socket_closed(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.socket_closed(reason)
        else:
            self.handshake_failed(AgentUnavailable(reason))

    def socket_stalled(self) -> None:
        if self._session is not None:
            self._session.socket_stalled()

    def handshake_failed(self, why: AgentUnavailable) -> None:
        sideband, self._sideband = self._sideband, None
        if sideband is not None:
            sideband.failed(self, why)
