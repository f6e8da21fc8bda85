"""
A fast path for media beside Autobahn's WebSocket.

Autobahn does the opening handshake, ping and pong, fragments, closing and every rule
about violations.  What is left, whole text and binary messages fifty times a second,
takes a short way past it, L{chime_gateway.net.path}:  L{FrameReader} picks them out
of the stream and everything else goes to Autobahn untouched.  Autobahn's own
per-message path costs several times as much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from autobahn.websocket import protocol
from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.batch import BatchReader
from chime_gateway.net.path.inside_twisted import is_known_tcp, is_known_tls
from chime_gateway.net.path.socket_path import Receive, SocketPath, TransportPath
from chime_gateway.net.path.tls_path import TlsPath
from chime_gateway.net.timer import Timer
from chime_gateway.wire.websocket_frame import NOT_PLAIN, OPCODE_BINARY

#: Autobahn's C{sendClose} refuses every code but 1000 and 3000 to 4999.
CLOSE_NORMAL: Final = 1000

#: A peer that reads nothing for so long has stalled.
STALL_SECONDS: Final = 10.0

#: All that may come before the opening handshake is complete.
MAX_OPENING_BYTES: Final = 32_768

#: Attributes of Autobahn's that nothing reads when the handshake is over.
_OF_HANDSHAKE: Final = (
    *("http_request_data", "http_response_data", "http_status_line", "http_headers"),
    *("websocket_key", "send_queue"),
)

_OPEN: Final = WebSocketProtocol.STATE_OPEN

_log = Logger()

# Autobahn spreads all its settings out as text, for a debug line of each connection: a
# sixth of what the set-up of a call takes, and nobody reads it.
protocol.pformat = lambda _: ""


class LeanWebSocket:
    """
    Mix in before one of Autobahn's protocols; call L{open_lean_path} from
    C{onOpen}.  Subclasses implement L{peer_stalled}.

    @ivar clock: times the stall; set before the connection opens.
    @ivar batch: reads the socket together with others, if there is one.
    @ivar path: the way of messages, once it is open.
    @ivar send_message: of the path: whoever sends for each frame keeps it.
    """

    clock: IReactorTime
    batch: BatchReader | None = None
    path: TransportPath | None = None
    send_message: Callable[..., bool]
    transport: Any
    factory: Any
    data: bytes
    remoteCloseCode: int | None
    failHandshake: Callable[[str], None]

    _state: int = WebSocketProtocol.STATE_CLOSED
    _opening_bytes = 0
    _early = b""
    _stall: Timer | None = None

    if not TYPE_CHECKING:  # any name would be one of these

        def __getattr__(self, name):
            """
            A setting is the factory's.  Autobahn gives each connection its own copies
            of those that it does not find there: 24 of them, and a larger dictionary.
            """
            if name in type(self).CONFIG_ATTRS:
                return getattr(self.factory, name)
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    @property
    def state(self) -> int:
        """Autobahn's, which sets it wherever it likes: the path must know."""
        return self._state

    @state.setter
    def state(self, state: int) -> None:
        self._state = state
        if self.path is None:
            return
        self.path.is_open = state == _OPEN
        if state != _OPEN and self._stall is not None:
            # TLS waits for the other side's goodbye, TCP until it has read, and
            # Autobahn until the service has closed what it said it would.
            with contextlib.suppress(MemoryError):
                self._stall.start(STALL_SECONDS, self._give_up)

    def peer_stalled(self) -> None:
        """The peer did not read for L{STALL_SECONDS}."""
        raise NotImplementedError

    def is_odd_frame_allowed(self) -> bool:
        """Whether one more control frame, or fragment, is to be looked at at all."""
        return True

    def receiver_failed(self) -> None:
        """What was to receive a message has raised: it is to end what it is of."""
        raise NotImplementedError

    def socket_lost(self) -> None:
        """It is gone, whether C{onClose} could say so or not."""
        raise NotImplementedError

    def open_lean_path(self, receive: Receive, max_payload_bytes: int) -> None:
        """
        From here on messages go past Autobahn.

        @param receive: told each whole message, and whether it is binary.
        """
        self._stall = Timer(self.clock)
        # Autobahn's own tcpNoDelay option is never applied.
        if hasattr(self.transport, "setTcpNoDelay"):
            with contextlib.suppress(OSError):  # a Unix socket has no such thing
                self.transport.setTcpNoDelay(True)
        self.path = path = self._new_path(receive, max_payload_bytes)
        self.send_message = path.send_message
        # What came with the handshake must not be parsed by Autobahn: half a
        # frame would stay there.
        self._early, self.data = self.data, b""
        # Autobahn keeps the handshake, and a queue that is passed by from here on.
        attributes = vars(self)
        for name in _OF_HANDSHAKE:
            attributes.pop(name, None)
        # Under twisted.web the HTTP channel has registered itself.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def _new_path(self, receive: Receive, max_payload_bytes: int) -> TransportPath:
        """The shortest way between this peer and C{receive}."""
        make: type[TransportPath] = TransportPath
        if is_known_tcp(self.transport):
            make = SocketPath
        elif is_known_tls(self.transport):
            make = TlsPath
        path = make(
            self.transport,
            self,
            receive,
            masks=not self.factory.isServer,
            max_payload_bytes=max_payload_bytes,
        )
        if isinstance(path, SocketPath) and self.batch is not None:
            with contextlib.suppress(OSError):  # the reactor goes on reading it
                path.join(self.batch)
        return path

    def receive_by(self, receive: Receive) -> None:
        """Messages are somebody else's from now on."""
        assert self.path is not None
        self.path.receive = receive

    # -- receiving -----------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        path = self.path
        if path is None:
            self._opening_bytes += len(data)
            super().dataReceived(data)  # type: ignore[misc]
            path = self.path
            if (
                self._opening_bytes > MAX_OPENING_BYTES
                and self.state == WebSocketProtocol.STATE_CONNECTING
            ):
                # Autobahn keeps all of it, and searches all of it each time.
                self.data = b""
                self.failHandshake(f"it is longer than {MAX_OPENING_BYTES} bytes")
                return
            data, self._early = self._early, b""
            if path is None or not data:
                return
        for opcode, payload in path.reader.feed(data):
            if opcode == NOT_PLAIN:
                if not self.is_odd_frame_allowed():
                    self.dropConnection(abort=True)
                    return
                super().dataReceived(payload)  # type: ignore[misc]
            else:
                self.onMessage(payload, opcode == OPCODE_BINARY)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message that came in pieces; Autobahn, too, puts some together."""
        path = self.path
        if path is not None and path.is_open:
            try:
                path.receive(payload, isBinary)
            except Exception:
                self.receive_failed()

    def receive_failed(self) -> None:
        """A bug, or no memory: the end, with a close code if it can be sent."""
        self.receiver_failed()
        _log.failure("could not process a message")

    # -- sending -------------------------------------------------------------

    def sendData(self, data: bytes, *args: Any, **kwargs: Any) -> None:
        """
        What Autobahn itself sends: pings, pongs, closes.

        At once as well: it aborts the connection when both sides close at the
        same moment, and a close frame still queued would be lost.
        """
        path = self.path
        if path is None:
            super().sendData(data, *args, **kwargs)  # type: ignore[misc]
            return
        path.write(data)
        path.flush()

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; a reason may have 123 bytes (RFC 6455 5.5)."""
        if self.state == _OPEN:
            short = reason.encode()[:123].decode(errors="ignore")
            self.sendClose(code, short)  # type: ignore[attr-defined]

    def dropConnection(self, abort: bool = False) -> None:
        """
        Autobahn's way to end the connection.

        As a server it aborts once both sides have said close.  The reset would
        overtake our own close frame, and the peer never learn its code.
        """
        abort = abort and self.remoteCloseCode is None
        if self.path is not None:
            self.path.flush()
        super().dropConnection(abort)  # type: ignore[misc]

    def _give_up(self) -> None:
        self.transport.abortConnection()

    # -- IPushProducer: the transport says whether the peer reads ------------------

    def pauseProducing(self) -> None:
        assert self.path is not None and self._stall is not None
        self.path.is_unread = True
        if not self._stall.is_running:
            self._stall.start(STALL_SECONDS, self.peer_stalled)

    def resumeProducing(self) -> None:
        assert self.path is not None and self._stall is not None
        self.path.is_unread = False
        if self.path.is_open:
            self._stall.stop()

    def stopProducing(self) -> None:
        """The connection ends."""

    def connectionLost(self, reason: Any) -> None:
        path = self.path
        try:
            super().connectionLost(reason)  # type: ignore[misc]
        finally:
            if self._stall is not None:
                self._stall.stop()
            if path is not None:
                # Whoever received is let go with the socket, not with the garbage.
                path.closed()
                self.socket_lost()
        # Autobahn keeps Deferreds whose result is the protocol itself.
        self.is_open = self.is_closed = None
