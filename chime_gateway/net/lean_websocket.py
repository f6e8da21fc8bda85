"""
A lean path for media over Autobahn's WebSocket.

Autobahn does the opening handshake, ping and pong, fragments, closing and every
rule about violations.  What is left, whole text and binary messages fifty times
a second, takes a short way past it: L{FrameReader} picks them out of the stream
and everything else goes to Autobahn untouched.  Its own per-message path costs
several times as much.

Nothing here knows what the messages mean.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IReactorTime
from twisted.internet.tcp import Connection
from twisted.logger import Logger

from chime_gateway.net.batch import BatchReader, write_at_once
from chime_gateway.net.timer import Timer
from chime_gateway.wire.websocket_frame import (
    NOT_PLAIN,
    OPCODE_BINARY,
    OPCODE_TEXT,
    FrameReader,
    encode_frame,
)

#: Autobahn's C{sendClose} refuses every code but 1000 and 3000 to 4999.
CLOSE_NORMAL: Final = 1000

#: A read takes this much at most.  Twisted's 64 KiB are allocated for every
#: read, however short what comes.
_READ_BYTES: Final = 4096

#: A peer that reads nothing for so long has stalled.
STALL_SECONDS: Final = 10.0

#: What may wait for a peer that reads slowly: some minutes of audio.
MAX_UNSENT_BYTES: Final = 4 << 20

#: All that may come before the opening handshake is complete.
MAX_OPENING_BYTES: Final = 32_768

#: Masking keys must not be guessable (RFC 6455 section 5.3), and a system call
#: for each would cost more than the masking.
_KEY_POOL_BYTES: Final = 4096

#: Attributes of Autobahn's that nothing reads when the handshake is over.
_OF_HANDSHAKE: Final = (
    *("http_request_data", "http_response_data", "http_status_line", "http_headers"),
    *("websocket_key", "send_queue"),
)

_log = Logger()


class _Keys:
    """Masking keys from the system's entropy, drawn in bulk."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def __call__(self) -> bytes:
        at = self._at
        if at >= len(self._pool):
            self._pool = os.urandom(_KEY_POOL_BYTES)
            at = 0
        self._at = at + 4
        return self._pool[at : at + 4]


_next_key: Final = _Keys()


def _ignore(*_: object) -> None:
    """For a socket that is gone."""


class LeanWebSocket:
    """
    Mix in before one of Autobahn's protocols; call L{open_lean_path} from
    C{onOpen}.  Subclasses implement L{peer_stalled}.

    @ivar clock: times the stall; set before the connection opens.
    @ivar batch: reads the socket together with others, if there is one.
    """

    clock: IReactorTime
    batch: BatchReader | None = None
    transport: Any
    state: int
    factory: Any
    data: bytes
    remoteCloseCode: int | None
    failHandshake: Callable[[str], None]

    _reader: FrameReader | None = None
    _opening_bytes = 0
    _early = b""
    _receive: Callable[[bytes, bool], None]
    _write: Callable[[bytes], None]
    _key: Callable[[], bytes] | None = None
    _stall: Timer | None = None

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

    def open_lean_path(
        self, receive: Callable[[bytes, bool], None], max_payload_bytes: int
    ) -> None:
        """
        From here on messages go past Autobahn.

        @param receive: told each whole message, and whether it is binary.
        """
        self._receive = receive
        self._stall = Timer(self.clock)
        # Autobahn's own tcpNoDelay option is never applied.
        if hasattr(self.transport, "setTcpNoDelay"):
            with contextlib.suppress(OSError):  # a Unix socket has no such thing
                self.transport.setTcpNoDelay(True)
        if isinstance(self.transport, Connection):
            self.transport.bufferSize = _READ_BYTES
        is_server = self.factory.isServer
        self._reader = FrameReader(
            masked=is_server, max_payload_bytes=max_payload_bytes
        )
        self._key = None if is_server else _next_key
        self._write = self._writer()
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

    def _writer(self) -> Callable[[bytes], None]:
        """The shortest way for bytes to this peer."""
        transport = self.transport
        if not isinstance(transport, Connection):
            write: Callable[[bytes], None] = transport.write
            return write
        if self.batch is None:
            return partial(write_at_once, transport)
        try:
            self.batch.adopt(transport)
        except OSError:
            # No descriptor for the set, or no room in it: the reactor reads it.
            self.batch = None
            return partial(write_at_once, transport)
        transport.stopReading()
        return partial(self.batch.write, transport)

    # -- receiving -----------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            self._opening_bytes += len(data)
            super().dataReceived(data)  # type: ignore[misc]
            reader = self._reader
            if (
                self._opening_bytes > MAX_OPENING_BYTES
                and self.state == WebSocketProtocol.STATE_CONNECTING
            ):
                # Autobahn keeps all of it, and searches all of it each time.
                self.data = b""
                self.failHandshake(f"it is longer than {MAX_OPENING_BYTES} bytes")
                return
            data, self._early = self._early, b""
            if reader is None or not data:
                return
        for opcode, payload in reader.feed(data):
            if opcode == NOT_PLAIN:
                if not self.is_odd_frame_allowed():
                    self.dropConnection(abort=True)
                    return
                super().dataReceived(payload)  # type: ignore[misc]
            elif self.state == WebSocketProtocol.STATE_OPEN:
                try:
                    self._receive(payload, opcode == OPCODE_BINARY)
                except Exception:
                    self._failed()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Autobahn put the fragments of a message together."""
        if self.state == WebSocketProtocol.STATE_OPEN:
            try:
                self._receive(payload, isBinary)
            except Exception:
                self._failed()

    def _failed(self) -> None:
        """A bug, or no memory: the end, with a close code if it can be sent."""
        self.receiver_failed()
        _log.failure("what a message has come to failed")

    # -- sending -------------------------------------------------------------

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        """
        @return: C{False} if the peer reads so slowly that nothing more may
            wait for it; the message is lost then.
        """
        if self.state != WebSocketProtocol.STATE_OPEN:
            return True  # the closing handshake is on its way
        stall = self._stall
        is_unread = stall is not None and stall.is_running
        if is_unread and self._unsent_bytes() > MAX_UNSENT_BYTES:
            return False
        key = None if self._key is None else self._key()
        opcode = OPCODE_BINARY if is_binary else OPCODE_TEXT
        self._write(encode_frame(opcode, payload, key))
        return True

    def sendData(self, data: bytes, *args: Any, **kwargs: Any) -> None:
        """
        What Autobahn itself sends: pings, pongs, closes.

        At once as well: it aborts the connection when both sides close at the
        same moment, and a close frame still queued would be lost.
        """
        if self._reader is None:
            super().sendData(data, *args, **kwargs)  # type: ignore[misc]
            return
        self._write(data)
        if self.batch is not None:
            self.batch.flush(self.transport)

    def _unsent_bytes(self) -> int:
        transport = self.transport
        if isinstance(transport, Connection):
            return len(transport.dataBuffer) + transport._tempDataLen
        # Behind TLS the amount is not to be seen; L{STALL_SECONDS} bounds it.
        return 0

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; a reason may have 123 bytes (RFC 6455 5.5)."""
        if self.state == WebSocketProtocol.STATE_OPEN:
            short = reason.encode()[:123].decode(errors="ignore")
            self.sendClose(code, short)  # type: ignore[attr-defined]

    def dropConnection(self, abort: bool = False) -> None:
        """
        Autobahn's way to end the connection.

        As a server it aborts once both sides have said close.  The reset would
        overtake our own close frame, and the peer never learn its code.
        """
        is_agreed = self.remoteCloseCode is not None
        super().dropConnection(abort and not is_agreed)  # type: ignore[misc]

    # -- IPushProducer: the transport says whether the peer reads ------------------

    def pauseProducing(self) -> None:
        if self._stall is not None and not self._stall.is_running:
            self._stall.start(STALL_SECONDS, self.peer_stalled)

    def resumeProducing(self) -> None:
        self._forget_stall()

    def stopProducing(self) -> None:
        self._forget_stall()

    def connectionLost(self, reason: Any) -> None:
        self._forget_stall()
        if self.batch is not None:
            self.batch.release(self.transport)
        try:
            super().connectionLost(reason)  # type: ignore[misc]
        finally:
            if self._reader is not None:
                self.socket_lost()
        # Whoever received is let go with the socket, not with the garbage; and
        # Autobahn keeps Deferreds whose result is the protocol itself.
        self._receive = _ignore
        self._write = _ignore
        self.is_open = self.is_closed = None

    def _forget_stall(self) -> None:
        if self._stall is not None:
            self._stall.stop()
