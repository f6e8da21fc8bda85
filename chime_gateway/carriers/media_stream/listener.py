"""
Listens for media streams: refuses strangers before the upgrade, and gives each leg
its socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request

from chime_gateway.carriers.media_stream.credentials import (
    StreamAuth,
    UpgradeRequest,
    Verdict,
)
from chime_gateway.carriers.media_stream.door import Door, host_of, say, upgrade_of
from chime_gateway.carriers.media_stream.leg import StreamLeg, traits_of
from chime_gateway.interfaces import CarrierTraits
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.lean_websocket import LeanWebSocket
from chime_gateway.net.strangers.connections import Connections, place_of
from chime_gateway.switchboard import Switchboard
from chime_gateway.wire.media_stream.dialect import MAX_MESSAGE_BYTES, StreamDialect


@frozen
class StreamListener:
    """
    What all streams of one path share.

    @ivar connections: the connections that are not calls yet.
    @ivar needs_credentials_early: a peer without credentials is refused at the
        upgrade.  Otherwise its C{start} may still bring a token.
    """

    new_dialect: Callable[[], StreamDialect]
    auth: StreamAuth
    switchboard: Switchboard
    clock: IReactorTime
    start_seconds: float
    needs_credentials_early: bool
    connections: Connections
    batch: BatchReader | None = None

    @property
    def traits(self) -> CarrierTraits:
        return traits_of(self.new_dialect())


class StreamProtocol(LeanWebSocket, WebSocketServerProtocol):  # type: ignore[misc]
    """
    The socket of one L{StreamLeg}.

    @ivar place: the peer's address; for IPv6 its /64.
    """

    place = ""
    leg: StreamLeg | None = None

    def __init__(self, listener: StreamListener) -> None:
        super().__init__()
        self.clock = listener.clock
        self.batch = listener.batch
        self.log = listener.connections.log
        self._listener = listener
        self._is_authorized = False

    def onConnect(self, request: Any) -> None:
        # Checked again instead of passed along: the request has all that is needed.
        upgrade = UpgradeRequest(
            request.headers, self.http_request_uri, host_of(self.transport.getHost())
        )
        verdict = self._listener.auth.check_upgrade(upgrade)
        self._is_authorized = verdict is Verdict.GRANTED

    def onOpen(self) -> None:
        listener = self._listener
        self.place = place_of(host_of(self.transport.getPeer()))
        # The leg may refuse and close at once, so the socket has to be ready before.
        self.open_lean_path(self._received, MAX_MESSAGE_BYTES)
        self.leg = StreamLeg(
            listener.new_dialect(),
            self,
            listener.switchboard,
            is_authorized=self._is_authorized,
            check_token=listener.auth.is_token,
            clock=listener.clock,
            start_seconds=listener.start_seconds,
        )

    def _received(self, payload: bytes, is_binary: bool) -> None:
        assert self.leg is not None
        self.receive_by(self.leg.message_received)
        self.leg.message_received(payload, is_binary)

    def is_odd_frame_allowed(self) -> bool:
        return self.leg is None or self.leg.frame_received()

    def accepted(self) -> None:
        """The connection belongs to a call: its peer is no longer a stranger."""
        self._listener.connections.known(self.transport)

    def connectionLost(self, reason: object) -> None:
        self._listener.connections.left(self.transport)
        super().connectionLost(reason)

    def peer_stalled(self) -> None:
        assert self.leg is not None
        self.leg.socket_stalled()
        # The peer would not read a close frame either.
        self.dropConnection(abort=True)

    def receiver_failed(self) -> None:
        if self.leg is not None:
            self.leg.failed()

    def socket_lost(self) -> None:
        if self.leg is not None:
            self.leg.socket_closed(None, False)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.leg is not None:
            self.leg.socket_closed(self.localCloseCode or code, wasClean)


class StreamFactory(WebSocketServerFactory):  # type: ignore[misc]
    """Build a L{StreamProtocol} for each connection."""

    noisy = False

    def __init__(self, listener: StreamListener, reactor: Any) -> None:
        # Without C{reactor}, Autobahn imports the global reactor.
        super().__init__(reactor=reactor)
        self._listener = listener
        self.setProtocolOptions(
            maxMessagePayloadSize=MAX_MESSAGE_BYTES,
            maxFramePayloadSize=MAX_MESSAGE_BYTES,
            autoPingInterval=20,
            autoPingTimeout=20,
            # Answer a violation with a close code, not by dropping the connection.
            failByDrop=False,
            # Autobahn's status page redirects to any address in the query.
            webStatus=False,
        )

    def buildProtocol(self, addr: object) -> StreamProtocol:
        protocol = StreamProtocol(self._listener)
        protocol.factory = self
        return protocol


class StreamResource(Resource):
    """Answers upgrade requests: 401 or 403 for a stranger, otherwise a WebSocket."""

    isLeaf = True

    def __init__(self, listener: StreamListener, reactor: Any) -> None:
        super().__init__()
        self._listener = listener
        traits = listener.traits
        self._door = Door(
            listener.auth,
            listener.switchboard,
            traits.name,
            listener.needs_credentials_early,
            traits.fails_over,
        )
        self._sockets = WebSocketResource(StreamFactory(listener, reactor))

    def render(self, request: Request) -> Any:
        door = self._door
        asked = upgrade_of(request)
        told = door.stranger(request, asked)
        if told is not None:
            return told
        if "upgrade" not in asked.headers:
            request.setHeader(b"Upgrade", b"websocket")
            request.setHeader(b"Connection", b"Upgrade")
            return say(
                request,
                426,
                "chime-gateway accepts media streams of calls here, over WebSocket: try"
                " chimegw call --to ws://HOST:PORT/stream",
            )
        if self._listener.switchboard.is_overloaded():
            # Saves the handshake before a close with 4429.
            told = door.full(request)
            if told is not None:
                return told
        return self._sockets.render(request)
