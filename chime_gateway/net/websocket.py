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

import os
from collections.abc import Callable
from typing import Any, Final

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.tcp import Connection

from chime_gateway.wire.wsframe import (
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
_READ_BYTES: Final = 8192

#: A peer that reads nothing for so long has stalled.
STALL_SECONDS: Final = 10.0

#: What may wait for a peer that reads slowly: some minutes of audio.
MAX_UNSENT_BYTES: Final = 4 << 20

#: Masking keys must not be guessable (RFC 6455 section 5.3), and a system call
#: for each would cost more than the masking.
_KEY_POOL_BYTES: Final = 4096


def immediate_writer(transport: Any) -> Callable[[bytes], None]:
    """
    A C{write} that puts bytes on a plain TCP socket at once if none are queued.

    Twisted waits until the socket says it is writable: two calls to epoll for
    each write of 300 bytes that nearly always fits.
    """
    if not isinstance(transport, Connection):
        write: Callable[[bytes], None] = transport.write
        return write
    queue = transport.write

    def write_now(data: bytes) -> None:
        if (
            transport.connected
            and not transport.disconnecting
            and not transport.dataBuffer
            and not transport._tempDataBuffer
        ):
            try:
                sent = transport.socket.send(data)
            except OSError:
                # Full, or broken: Twisted's own write will tell which.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        queue(data)

    return write_now


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


class LeanWebSocket:
    """
    Mix in before one of Autobahn's protocols; call L{open_lean_path} from
    C{onOpen}.

    Subclasses implement L{message_received} and L{peer_stalled} and send with
    L{send_text} and L{send_binary}.

    @ivar clock: times the stall; set before the connection opens.
    """

    clock: IReactorTime
    transport: Any
    state: int
    factory: Any
    data: bytes

    _reader: FrameReader | None = None
    _early = b""
    _write: Callable[[bytes], None]
    _key: Callable[[], bytes] | None = None
    _stall: IDelayedCall | None = None

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        """One whole message."""
        raise NotImplementedError

    def peer_stalled(self) -> None:
        """The peer did not read for L{STALL_SECONDS}."""
        raise NotImplementedError

    def open_lean_path(self, max_payload_bytes: int) -> None:
        """From here on messages go past Autobahn."""
        # Autobahn's own tcpNoDelay option is never applied.
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        if isinstance(self.transport, Connection):
            self.transport.bufferSize = _READ_BYTES
        is_server = self.factory.isServer
        self._reader = FrameReader(
            masked=is_server, max_payload_bytes=max_payload_bytes
        )
        self._key = None if is_server else _next_key
        self._write = immediate_writer(self.transport)
        # What came with the handshake must not be parsed by Autobahn: half a
        # frame would stay there.
        self._early, self.data = self.data, b""
        # Under twisted.web the HTTP channel has registered itself.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)

    # -- receiving -----------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            super().dataReceived(data)  # type: ignore[misc]
            reader = self._reader
            data, self._early = self._early, b""
            if reader is None or not data:
                return
        for opcode, payload in reader.feed(data):
            if opcode == NOT_PLAIN:
                super().dataReceived(payload)  # type: ignore[misc]
            elif self.state == WebSocketProtocol.STATE_OPEN:
                self.message_received(payload, opcode == OPCODE_BINARY)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Autobahn put the fragments of a message together."""
        if self.state == WebSocketProtocol.STATE_OPEN:
            self.message_received(payload, isBinary)

    # -- sending -------------------------------------------------------------

    def send_text(self, payload: bytes) -> bool:
        """
        @return: C{False} if the peer reads so slowly that nothing more may
            wait for it; the message is lost then.
        """
        return self._send(OPCODE_TEXT, payload)

    def send_binary(self, payload: bytes) -> bool:
        """As L{send_text}."""
        return self._send(OPCODE_BINARY, payload)

    def _send(self, opcode: int, payload: bytes) -> bool:
        if self.state != WebSocketProtocol.STATE_OPEN:
            return True  # the closing handshake is on its way
        if self._stall is not None and self._unsent_bytes() > MAX_UNSENT_BYTES:
            return False
        key = None if self._key is None else self._key()
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
        else:
            self._write(data)

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

    # -- IPushProducer: the transport says whether the peer reads ------------------

    def pauseProducing(self) -> None:
        if self._stall is None:
            self._stall = self.clock.callLater(STALL_SECONDS, self._stalled)

    def resumeProducing(self) -> None:
        self._forget_stall()

    def stopProducing(self) -> None:
        self._forget_stall()

    def connectionLost(self, reason: Any) -> None:
        self._forget_stall()
        super().connectionLost(reason)  # type: ignore[misc]

    def _stalled(self) -> None:
        self._stall = None
        self.peer_stalled()

    def _forget_stall(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None and stall.active():
            stall.cancel()
