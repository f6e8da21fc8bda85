"""
Simulates an Azure OpenAI Realtime service on a local port: the WebSocket around
L{SimulatedSession}.

The same port serves the HTTP requests for calls over WebRTC.  It uses plain Autobahn
on purpose, because the gateway's own lean path is tested against it.  It checks the
handshake in the same order as the real service, and refuses with the same bodies.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from socket import IPPROTO_TCP, TCP_INFO
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from attrs import frozen
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Site

from chime_gateway.audio import Codec
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.which import ALL, Which
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.transcription import DEPLOYMENT_NOT_FOUND
from chime_gateway.sim.realtime.voices import Voice

if TYPE_CHECKING:
    from chime_gateway.sim.realtime.webrtc.call import WebRtcCall
    from chime_gateway.sim.realtime.webrtc.service import WebRtcService

GA_PATH: Final = "/openai/v1/realtime"
PREVIEW_PATH: Final = "/openai/realtime"

#: The interval at which a frozen connection checks whether the peer still exists.
FROZEN_SECONDS: Final = 0.5

#: The first byte of Linux's C{struct tcp_info} (include/net/tcp_states.h).
TCP_ESTABLISHED: Final = 1

#: Both spellings were observed.
NOT_SUPPORTED: Final = ("OperationNotSupported", "OpperationNotSupported")

_BODIES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("BadRequest", "The model of this deployment does not support realtime."),
    401: (
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure"
        " to provide a valid key for an active subscription and use a correct regional"
        " API endpoint for your resource.",
    ),
    403: ("PublicNetworkAccessDisabled", "Public access is disabled."),
    404: (
        "DeploymentNotFound",
        DEPLOYMENT_NOT_FOUND,
    ),
    429: ("429", "Requests have exceeded the rate limit. Please retry later."),
}


def refusal_body(status: int) -> tuple[str, str]:
    """Return the service's (code, message) for a status."""
    return _BODIES.get(status, (str(status), "The service is unavailable."))


_NOT_SUPPORTED: Final = (
    "The realtime operation does not work with the specified model. Please choose"
    " different model and try again."
)


@frozen
class Door:
    """
    Decides which handshakes are accepted, and how the others are refused.

    @ivar api_keys: the keys accepted as C{api-key} or bearer token; empty: any key.
    @ivar deployments: the known deployments; empty: any name.
    @ivar refuse_status: refuse every handshake with this status; 0: do not.
    @ivar refuse_code: the error code in the body, for example one of L{NOT_SUPPORTED};
        empty: the usual code of the status.
    @ivar retry_after_seconds: the C{Retry-After} of C{refuse_status}; negative: none.
    @ivar is_silent: never answer a handshake; the connection stays open.
    @ivar breaks: reset the connection instead of answering.
    @ivar which: the handshakes, counted from 1, to which C{refuse_status}, C{is_silent}
        and C{breaks} apply.
    """

    api_keys: frozenset[str] = frozenset()
    deployments: frozenset[str] = frozenset()
    refuse_status: int = 0
    retry_after_seconds: int = -1
    is_silent: bool = False
    breaks: bool = False
    which: Which = ALL
    refuse_code: str = ""

    def refusal(self, uri: str, headers: Mapping[str, str], number: int = 1) -> int:
        """
        Return an HTTP status, or 0 to accept the client.

        @param number: the number of the handshake.
        """
        parts = urlsplit(uri)
        query = parse_qs(parts.query)
        if parts.path not in (GA_PATH, PREVIEW_PATH):
            return 404
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        key = headers.get("api-key") or bearer
        if not key or (self.api_keys and key not in self.api_keys):
            return 401
        is_preview = parts.path == PREVIEW_PATH
        if ("api-version" in query) is not is_preview:
            return 404 if is_preview else 401
        if "call_id" in query and not is_preview:
            return self.refuse_status if number in self.which else 0
        name = query.get("deployment" if is_preview else "model", [""])[0]
        if not name or (self.deployments and name not in self.deployments):
            return 404
        return self.refuse_status if number in self.which else 0


class SimulatorProtocol(WebSocketServerProtocol):  # type: ignore[misc]
    """One connection, one session."""

    _log = Logger()
    session: SimulatedSession | None = None
    closeHandshakeTimeoutCall: Any
    _call: WebRtcCall | None = None
    _call_id = ""

    def onConnect(
        self, request: Any
    ) -> tuple[str | None, dict[str, str]] | Deferred[Any]:
        self._uri: str = self.http_request_uri
        factory, door = self.factory, self.factory.door
        number = len(factory.handshakes) + 1
        status = door.refusal(self._uri, request.headers, number)
        self._call_id = parse_qs(urlsplit(self._uri).query).get("call_id", [""])[0]
        if self._call_id and not status:
            self._call = factory.webrtc().calls.get(self._call_id)
            if self._call is None or not self._call.is_open_to_sidebands():
                status = 404
        factory.handshakes.append((self._uri, dict(request.headers), status))
        if (door.is_silent or door.breaks) and number in door.which:
            if door.breaks:
                self.dropConnection(abort=True)
            return Deferred()  # never fires
        if status:
            raise ConnectionDeny(status, "refused")
        return ("realtime" if "realtime" in request.protocols else None), {}

    def sendHttpErrorResponse(
        self, code: int, reason: str, responseHeaders: object = None
    ) -> None:
        kind, message = refusal_body(code)
        if code == 404 and self._call_id:
            kind, message = "call_id_not_found", "There is no such call."
        door = self.factory.door
        is_ours = code == door.refuse_status
        if is_ours and door.refuse_code:
            kind, message = door.refuse_code, _NOT_SUPPORTED
        body = json.dumps({"error": {"code": kind, "message": message}}).encode()
        wait = door.retry_after_seconds
        has_wait = wait >= 0 and is_ours
        retry = f"Retry-After: {wait}\r\n" if has_wait else ""
        head = (
            f"HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\n{retry}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.sendData(head.encode() + body)

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        if self._call is not None:
            self.session = self._call.session
            self._call.attach(self)
            return
        self.session = self.factory.open_session(
            is_preview=urlsplit(self._uri).path == PREVIEW_PATH,
            send=self.send_event,
            close=self.end,
            freeze=self.freeze,
            uri=self._uri,
        )
        self.session.start()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.session is not None:
            self.session.receive(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        # Otherwise Autobahn keeps waiting for the answer to its close frame, even if
        # the peer is gone.
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()
            self.closeHandshakeTimeoutCall = None
        if self._call is not None:
            self._call.detach(self)
        elif self.session is not None:
            self.session.stop()
            tell = self.session.log.tell
            if tell is not None:
                tell("closed", {"code": code})

    def freeze(self) -> None:
        """
        Neither read nor write until the peer has gone.  A socket that is not read does
        not report that, so its TCP state is checked.
        """
        self.transport.pauseProducing()
        self._thaw()

    def _thaw(self) -> None:
        if self.transport.disconnected:
            return
        state = self.transport.getHandle().getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0]
        if state == TCP_ESTABLISHED:
            self.factory.reactor.callLater(FROZEN_SECONDS, self._thaw)
        else:
            self.dropConnection(abort=True)

    def send_event(self, event: Mapping[str, object]) -> None:
        if self.state == self.STATE_OPEN:
            payload = json.dumps(event, separators=(",", ":")).encode()
            self.sendMessage(payload, fragmentSize=self.factory.fragment_bytes)

    def end(self, code: int, reason: str) -> None:
        if code in (0, 1006):
            self.dropConnection(abort=code == 0)
        elif code == 1000 or 3000 <= code <= 4999:
            self.sendClose(code, reason)
        else:
            # Autobahn's sendClose() refuses these codes, but servers do send them.
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode(), isReply=False)


class SimulatorFactory(WebSocketServerFactory):  # type: ignore[misc]
    """
    The simulated service.

    @ivar sessions: all sessions so far, for tests and reports.
    @ivar handshakes: (URI, headers, refusal status) of every handshake.
    @param tell: called with (session's number, kind of note, its members) for each
        note.
    @param fragment_bytes: the size of WebSocket fragments; C{None}: do not fragment.
    """

    noisy = False
    protocol = SimulatorProtocol

    def __init__(
        self,
        new_voice: Callable[[], Voice],
        *,
        reactor: Any,
        behaviour: Behaviour | None = None,
        door: Door | None = None,
        api_keys: frozenset[str] = frozenset(),
        fragment_bytes: int | None = None,
        tell: Callable[[int, str, Mapping[str, object]], None] = lambda *what: None,
    ) -> None:
        super().__init__(reactor=reactor, protocols=["realtime"])
        # No timeout: a silent door stays silent.
        self.setProtocolOptions(openHandshakeTimeout=0)
        self.new_voice = new_voice
        self.behaviour = behaviour or Behaviour()
        self.door = door or Door(api_keys=api_keys)
        self.fragment_bytes = fragment_bytes
        self.tell = tell
        self.sessions: list[SimulatedSession] = []
        self.handshakes: list[tuple[str, dict[str, str], int]] = []
        self._webrtc: WebRtcService | None = None
        self._site: Site | None = None

    def buildProtocol(self, addr: object) -> ProtocolSwitch:
        return ProtocolSwitch(self, addr)

    def websocket(self, addr: object) -> IProtocol:
        protocol: IProtocol = super().buildProtocol(addr)
        return protocol

    def http(self, addr: object) -> IProtocol:
        if self._site is None:
            from chime_gateway.sim.realtime.webrtc.requests import ServiceRequests

            requests = ServiceRequests(self.webrtc(), self.door, refusal_body)
            self._site = Site(requests, reactor=self.reactor)
        protocol: Any = self._site.buildProtocol(addr)
        return cast(IProtocol, protocol)

    def webrtc(self) -> WebRtcService:
        """Return the WebRTC service, which is imported at the first use."""
        if self._webrtc is None:
            from chime_gateway.sim.realtime.webrtc.service import WebRtcService

            self._webrtc = WebRtcService(
                self, reactor=self.reactor, wall_time=time.time
            )
        return self._webrtc

    def stopFactory(self) -> None:
        if self._webrtc is not None:
            self._webrtc.stop()
        super().stopFactory()

    def next_behaviour(self) -> Behaviour:
        """Return the behaviour of the next session."""
        return self.behaviour.of_session(len(self.sessions) + 1)

    def open_session(
        self,
        *,
        is_preview: bool,
        send: Callable[[Mapping[str, object]], None],
        close: Callable[[int, str], None],
        freeze: Callable[[], None],
        uri: str = "",
        rtp_codec: Codec | None = None,
    ) -> SimulatedSession:
        """Return a new session, which is not started yet."""
        number = len(self.sessions) + 1
        tell = partial(self.tell, number)
        session = SimulatedSession(
            self.new_voice(),
            self.next_behaviour(),
            is_preview=is_preview,
            send=send,
            close=close,
            clock=self.reactor,
            wall_time=time.time,
            freeze=freeze,
            tell=tell,
            rtp_codec=rtp_codec,
        )
        self.sessions.append(session)
        tell("opened", {"uri": uri})
        return session


class ProtocolSwitch(Protocol):
    """
    A new connection: C{GET} begins a WebSocket handshake, other methods are HTTP
    requests.
    """

    def __init__(self, factory: SimulatorFactory, address: object) -> None:
        self._factory = factory
        self._address = address
        self._within: IProtocol | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._within is None:
            is_websocket = data.startswith(b"G")
            door = self._factory.websocket if is_websocket else self._factory.http
            self._within = door(self._address)
            # From now on the transport calls the chosen protocol directly.
            transport: Any = self.transport
            transport.protocol = self._within
            self._within.makeConnection(transport)
        self._within.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._within is not None:
            self._within.connectionLost(reason)
