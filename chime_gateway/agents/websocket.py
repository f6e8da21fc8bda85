"""
The WebSocket of an Azure OpenAI Realtime session.

It connects, performs the handshake, explains a refusal, and carries messages for
L{chime_gateway.agents.session}.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.protocol import WebSocketProtocol
from autobahn.websocket.types import ConnectingRequest
from autobahn.websocket.util import parse_url
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from chime_gateway import __version__
from chime_gateway.errors import AgentUnavailable
from chime_gateway.interfaces import AgentSession
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.lean_websocket import CLOSE_NORMAL, LeanWebSocket
from chime_gateway.net.system.tls import keep_session
from chime_gateway.wire.realtime.faults import retry_seconds
from chime_gateway.wire.realtime.reader import MAX_EVENT_BYTES

#: Statuses that do not change until a setting does; others (429, 5xx) may be temporary.
MISCONFIGURED_STATUS: Final = frozenset({400, 401, 403, 404})

#: What to check, by status (more in docs/reference/deployments.md).
_HINTS: Final[Mapping[int, str]] = {
    400: "is AZURE_OPENAI_DEPLOYMENT a realtime model?",
    401: "check AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT, and that"
    " AZURE_OPENAI_API_VERSION is set for the preview only",
    403: "check the resource's network rules and the identity's role",
    404: "check AZURE_OPENAI_DEPLOYMENT and AZURE_OPENAI_ENDPOINT",
}


#: Maximum length of a header with a number or a date.
_MAX_WAIT_CHARS: Final = 64

_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


class HandshakeRefused(AgentUnavailable):
    """The service answered the upgrade with an HTTP status."""

    def __init__(
        self, status: int, text: str, retry_after_seconds: float | None
    ) -> None:
        super().__init__(
            text,
            misconfigured=status in MISCONFIGURED_STATUS,
            retry_after_seconds=retry_after_seconds,
        )
        self.status = status


class EventSocket(Protocol):
    """Carries messages in both directions, until one side closes it."""

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        """Send a message; C{False}: it was not sent."""

    def close(self, code: int, reason: str) -> None: ...


class SocketUser(Protocol):
    """The user of a socket."""

    def opened(self, socket: EventSocket) -> None: ...
    def message_received(self, payload: bytes, is_binary: bool) -> None: ...
    def frame_came(self) -> bool: ...
    def socket_closed(self, reason: str) -> None: ...
    def socket_stalled(self) -> None: ...
    def handshake_failed(self, why: AgentUnavailable) -> None:
        """The handshake failed, before L{opened}; may be reported twice."""


class SocketEvents(SocketUser, Protocol):
    """
    A session that uses a socket.

    @ivar ready: fires when audio may flow; fails with L{AgentUnavailable}.
    """

    ready: Deferred[AgentSession]


class RealtimeProtocol(LeanWebSocket, WebSocketClientProtocol):  # type: ignore[misc]
    """The socket of one L{SocketUser}."""

    def __init__(
        self,
        session: SocketUser,
        request: ConnectingRequest,
        sockets: RealtimeSockets,
        batch: BatchReader | None,
    ) -> None:
        super().__init__()
        self.factory = sockets
        self.clock = sockets.reactor
        self.batch = batch
        self._session = session
        self._request = request

    def onConnecting(self, transport_details: object) -> ConnectingRequest:
        return self._request

    def onOpen(self) -> None:
        del self._request
        keep_session(self.transport)
        self.open_lean_path(self._session.message_received, MAX_EVENT_BYTES)
        self._session.opened(self)

    def is_odd_frame_allowed(self) -> bool:
        return self._session.frame_came()

    def peer_stalled(self) -> None:
        self._session.socket_stalled()
        self.dropConnection(abort=True)

    def failHandshake(self, reason: str) -> None:
        self._session.handshake_failed(self._refusal(reason))
        super().failHandshake(reason)

    def receiver_failed(self) -> None:
        self._session.socket_closed("the agent's session failed here")

    def socket_lost(self) -> None:
        self._session.socket_closed("the agent's connection broke")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        detail = f" ({code}{': ' + reason if reason else ''})" if code else ""
        self._session.socket_closed(f"the agent's service closed the session{detail}")

    def _refusal(self, reason: str) -> AgentUnavailable:
        """Interpret the HTTP answer to the upgrade request."""
        words = (getattr(self, "http_status_line", None) or "").split()
        if len(words) < 2 or not words[1].isdigit() or words[1] == "101":
            return AgentUnavailable(f"the agent's handshake failed: {reason}")
        status = int(words[1])
        text = f"the agent's service answered HTTP {status}"
        detail = error_text(self.data.partition(b"\r\n\r\n")[2])
        if detail:
            text += f" ({detail})"
        if status in _HINTS:
            text += f"; {_HINTS[status]}"
        headers = getattr(self, "http_headers", None) or {}
        wait = asked_wait(headers, time.time())
        return HandshakeRefused(
            status, text, retry_seconds(detail) if wait is None else wait
        )


class _ErrorBody(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _ErrorAnswer(msgspec.Struct):
    error: _ErrorBody


def error_text(body: bytes) -> str:
    """Return the service's text from the JSON of a refusal; empty: there is none."""
    try:
        error = msgspec.json.decode(body, type=_ErrorAnswer).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return ": ".join(part[:200] for part in (error.code, error.message) if part)


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """
    Return how many seconds the service asks the gateway to wait: OpenAI's
    C{retry-after-ms}, or Retry-After as a number or a date (RFC 9110 section 10.2.3).

    @param headers: names in lower case.
    @param now: Unix time; used only if the answer has no Date header.  That is better,
        as both dates are then of the service's clock.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()[:_MAX_WAIT_CHARS]
        if _NUMBER.fullmatch(text):
            return float(text) / unit
    then = _unix_time(headers.get("retry-after", ""))
    if then is None:
        return None
    return max(0.0, then - (_unix_time(headers.get("date", "")) or now))


def _unix_time(date: str) -> float | None:
    try:
        then = parsedate_to_datetime(date[:_MAX_WAIT_CHARS])
        # Without a zone it is UTC, as it always is in HTTP.
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


class RealtimeSockets(WebSocketClientFactory):  # type: ignore[misc]
    """
    What the sockets of all sessions share: Autobahn's options, and the timer of its
    pings.
    """

    def __init__(self, reactor: Any) -> None:
        # Without a reactor Autobahn imports the global one.
        super().__init__(reactor=reactor)
        self.setProtocolOptions(
            maxMessagePayloadSize=MAX_EVENT_BYTES,
            maxFramePayloadSize=MAX_EVENT_BYTES,
            openHandshakeTimeout=0,  # the deadline for connecting covers the handshake
            autoPingInterval=20,
            autoPingTimeout=20,
            failByDrop=False,
        )


class _OneSocket(Factory):
    """Builds the L{RealtimeProtocol} of one session, once."""

    noisy = False

    def __init__(self, make: Callable[[], RealtimeProtocol]) -> None:
        self._make: Callable[[], RealtimeProtocol] | None = make

    def buildProtocol(self, addr: object) -> RealtimeProtocol:
        make, self._make = self._make, None
        assert make is not None
        return make()


def dial(
    url: str,
    headers: Mapping[str, str],
    session: SocketUser,
    endpoint: IStreamClientEndpoint,
    sockets: RealtimeSockets,
    batch: BatchReader | None = None,
) -> Callable[[], None]:
    """
    Start opening a socket to C{url}.

    @return: a function that cancels this, at any point.
    """
    _, host, port, resource, _, _ = parse_url(url)
    request = ConnectingRequest(
        host, port, resource, dict(headers), f"chime-gateway/{__version__}"
    )
    factory = _OneSocket(lambda: RealtimeProtocol(session, request, sockets, batch))
    connecting = endpoint.connect(factory)
    opened: list[RealtimeProtocol] = []

    def failed(failure: Failure) -> None:
        session.handshake_failed(
            AgentUnavailable(f"no connection to the agent: {failure.getErrorMessage()}")
        )

    def give_up() -> None:
        connecting.cancel()
        for socket in opened:
            socket.close(CLOSE_NORMAL, "")
            if socket.state == WebSocketProtocol.STATE_CONNECTING:
                # Before the handshake there is no closing handshake either.
                socket.dropConnection(abort=True)

    connecting.addCallbacks(opened.append, failed)
    return give_up


def connect(
    url: str,
    headers: Mapping[str, str],
    session: SocketEvents,
    endpoint: IStreamClientEndpoint,
    sockets: RealtimeSockets,
    batch: BatchReader | None = None,
) -> Deferred[AgentSession]:
    """
    Open C{session} at C{url}.

    @return: L{SocketEvents.ready}; it fails with L{AgentUnavailable}.  Cancelling it
        gives the attempt up, at any point.
    """
    give_up = dial(url, headers, session, endpoint, sockets, batch)

    def over(result: object) -> Any:
        if isinstance(result, Failure):
            give_up()
        return result

    return session.ready.addBoth(over)
