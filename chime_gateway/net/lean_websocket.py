"""
A fast path for media that bypasses Autobahn's WebSocket code.

Autobahn does the opening handshake, ping and pong, fragments, closing, and all
protocol violations.  Whole text and binary messages, fifty a second, bypass it through
L{chime_gateway.net.path}: L{FrameReader} picks them out of the stream, and everything
else goes to Autobahn unchanged.  Autobahn's own path costs several times as much for
each message.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from autobahn.twisted import websocket
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

#: A peer that has not read for this long has stalled.
STALL_SECONDS: Final = 10.0

#: Maximum size of the opening handshake.
MAX_OPENING_BYTES: Final = 32_768

#: Attributes of Autobahn that nothing reads after the handshake.
_OF_HANDSHAKE: Final = (
    *("http_request_data", "http_response_data", "http_status_line", "http_headers"),
    *("websocket_key", "send_queue"),
)

_OPEN: Final = WebSocketProtocol.STATE_OPEN

_log = Logger()

# For debug lines that are never read, Autobahn formats all its settings and colours
# names and values, and it parses the peer's certificate a second time: together about
# a quarter of the function calls of a call's set-up.
protocol.pformat = lambda _: ""
for _module in (protocol, websocket):
    _module.hltype = _module.hlval = lambda shown, **_: shown
websocket.extract_peer_certificate = lambda _: None


class LeanWebSocket:
    """
    Mix in before one of Autobahn's protocols; call L{open_lean_path} from
    C{onOpen}.  Subclasses implement L{peer_stalled}.

    @ivar clock: clock for the stall timer; set before the connection opens.
    @ivar batch: the batch that reads the socket together with others, if any.
    @ivar path: the path of messages, once it is open.
    @ivar send_message: the path's method, kept by code that sends every frame.
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
            Look up a setting in the factory.  Otherwise Autobahn gives each connection
            its own copies: 24 of them, and a larger dictionary.
            """
            if name in type(self).CONFIG_ATTRS:
                return getattr(self.factory, name)
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    @property
    def state(self) -> int:
        """Autobahn's state.  It is set in many places, and the path must follow."""
        return self._state

    @state.setter
    def state(self, state: int) -> None:
        self._state = state
        if self.path is None:
            return
        self.path.is_open = state == _OPEN
        if state != _OPEN and self._stall is not None:
            # Closing may wait for the peer for ever: TLS waits for its close_notify,
            # TCP until it has read, Autobahn until the service closes the connection.
            with contextlib.suppress(MemoryError):
                self._stall.start(STALL_SECONDS, self._give_up)

    def peer_stalled(self) -> None:
        """The peer has not read for L{STALL_SECONDS}."""
        raise NotImplementedError

    def is_odd_frame_allowed(self) -> bool:
        """Whether to process one more control frame or fragment."""
        return True

    def receiver_failed(self) -> None:
        """The receiver of a message has raised an exception: end the session."""
        raise NotImplementedError

    def socket_lost(self) -> None:
        """The socket is gone; C{onClose} may not have been called."""
        raise NotImplementedError

    def open_lean_path(self, receive: Receive, max_payload_bytes: int) -> None:
        """
        From now on, let messages bypass Autobahn.

        @param receive: called with each whole message, and whether it is binary.
        """
        self._stall = Timer(self.clock)
        # Autobahn's own tcpNoDelay option is never applied.
        if hasattr(self.transport, "setTcpNoDelay"):
            with contextlib.suppress(OSError):  # Unix sockets do not support it
                self.transport.setTcpNoDelay(True)
        self.path = path = self._new_path(receive, max_payload_bytes)
        self.send_message = path.send_message
        # Data that came with the handshake must not be parsed by Autobahn, which would
        # keep half a frame.
        self._early, self.data = self.data, b""
        # Free the handshake and Autobahn's send queue, which is not used any more.
        attributes = vars(self)
        for name in _OF_HANDSHAKE:
            attributes.pop(name, None)
        # Under twisted.web the HTTP channel has registered itself.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    def _new_path(self, receive: Receive, max_payload_bytes: int) -> TransportPath:
        """Make the fastest path that this transport supports."""
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
            with contextlib.suppress(OSError):  # then the reactor keeps reading it
                path.join(self.batch)
        return path

    def receive_by(self, receive: Receive) -> None:
        """Give messages to another receiver from now on."""
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
                # Autobahn would keep all of it, and search it anew for each read.
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
        """Receive a message that came in several reads, or in fragments."""
        path = self.path
        if path is not None and path.is_open:
            try:
                path.receive(payload, isBinary)
            except Exception:
                self.receive_failed()

    def receive_failed(self) -> None:
        """Close after a bug or a MemoryError, with a close code if it can be sent."""
        self.receiver_failed()
        _log.failure("could not process a message")

    # -- sending -------------------------------------------------------------

    def sendData(self, data: bytes, *args: object, **kwargs: object) -> None:
        """
        Send a control frame of Autobahn: ping, pong, close.

        It is written at once: Autobahn aborts the connection when both sides close at
        the same moment, and a queued close frame would be lost.
        """
        path = self.path
        if path is None:
            super().sendData(data, *args, **kwargs)  # type: ignore[misc]
            return
        path.write(data)
        path.flush()

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake.  RFC 6455 5.5 limits a reason to 123 bytes."""
        if self.state == _OPEN:
            short = reason.encode()[:123].decode(errors="ignore")
            self.sendClose(code, short)  # type: ignore[attr-defined]

    def dropConnection(self, abort: bool = False) -> None:
        """
        End the connection; called by Autobahn.

        As a server, Autobahn aborts once both sides have sent a close frame.  The reset
        would overtake our own close frame, and the peer would never see its code.
        """
        abort = abort and self.remoteCloseCode is None
        if self.path is not None:
            self.path.flush()
        super().dropConnection(abort)  # type: ignore[misc]

    def _give_up(self) -> None:
        self.transport.abortConnection()

    # -- IPushProducer: the transport tells whether the peer reads -----------------

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

    def connectionLost(self, reason: object) -> None:
        path = self.path
        try:
            super().connectionLost(reason)  # type: ignore[misc]
        finally:
            if self._stall is not None:
                self._stall.stop()
            if path is not None:
                # Release the receiver now, not when the garbage is collected.
                path.closed()
                self.socket_lost()
        # Autobahn keeps Deferreds whose result is the protocol itself.
        self.is_open = self.is_closed = None
