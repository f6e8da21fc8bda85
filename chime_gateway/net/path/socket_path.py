"""
The path of a frame between a TCP socket and its owner.

One small object holds all the state that a frame needs.  The cost of a frame lies less
in instructions than in memory that has left the CPU's cache since the call's last
frame.  Data other than one whole plain WebSocket frame goes to the owner.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, TypeAlias

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from chime_gateway.net.batch import BatchReader, Outgoing
from chime_gateway.net.path.inside_twisted import is_queued, queued_bytes
from chime_gateway.wire.websocket_frame import (
    BINARY,
    OPCODE_BINARY,
    OPCODE_TEXT,
    FrameReader,
    encode_frame,
)

#: Maximum unsent data for a peer that reads slowly: some minutes of audio.
MAX_UNSENT_BYTES: Final = 4 << 20

#: Maximum size of a read.  Twisted's 64 KiB are allocated for every read, however
#: little data comes.
READ_BYTES: Final = 4096

#: Masking keys must not be guessable (RFC 6455 section 5.3).  They are drawn in bulk,
#: as a system call for each would cost more than the masking.
_KEY_POOL_BYTES: Final = 4096

Receive: TypeAlias = Callable[[bytes, bool], None]

_split_keys: Final = struct.Struct("4s").iter_unpack


class _Keys:
    """Masking keys from the system's entropy, drawn in bulk."""

    __slots__ = ("pool",)

    def __init__(self) -> None:
        self.pool: Iterator[tuple[Any, ...]] = iter(())

    def refill(self) -> bytes:
        self.pool = _split_keys(os.urandom(_KEY_POOL_BYTES))
        (key,) = next(self.pool)
        return bytes(key)


_keys: Final = _Keys()

#: The write state of paths that are in no batch.
_NO_BATCH: Final = Outgoing()


class PathOwner(Protocol):
    """The owner of the socket."""

    def receive_failed(self) -> None:
        """The receiver of messages has raised an exception."""


class TransportPath:
    """
    The path over any transport, through Twisted: the transport reads and writes.

    @param masks: whether sent frames are masked, as a client's must be.
    @ivar receive: called with each whole message, and whether it is binary.
    @ivar is_open: whether messages may pass.
    @ivar is_unread: whether the peer has stopped reading for now.
    """

    __slots__ = (
        *("_masks", "_out", "_owner", "_transport", "_unsent"),
        *("is_open", "is_unread", "reader", "receive"),
    )

    def __init__(
        self,
        transport: Any,
        owner: PathOwner,
        receive: Receive,
        *,
        masks: bool,
        max_payload_bytes: int,
    ) -> None:
        self.is_open = True
        self.is_unread = False
        self.receive = receive
        self.reader = FrameReader(masked=not masks, max_payload_bytes=max_payload_bytes)
        self._masks = masks
        self._owner: PathOwner | None = owner
        self._transport = transport
        self._out = _NO_BATCH
        self._unsent = b""

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool:
        """
        Send one message.

        @return: C{False} if the message was discarded, as too much is unsent already.
        """
        if not self.is_open:
            return True  # the closing handshake has begun
        if self.is_unread and self.unsent_bytes() > MAX_UNSENT_BYTES:
            return False
        key = None
        if self._masks:
            try:
                (key,) = next(_keys.pool)
            except StopIteration:
                key = _keys.refill()
        frame = encode_frame(OPCODE_BINARY if is_binary else OPCODE_TEXT, payload, key)
        # The same as write(), inlined to save a call for each frame.
        out = self._out
        if not out.is_reading:
            self._unsent += frame
            self.flush()
            return True
        if not self._unsent:
            out.paths.append(self)
        self._unsent += frame
        return True

    def write(self, data: bytes) -> None:
        """Write now or, while the batch is read, together with its other writes."""
        out = self._out
        if not out.is_reading:
            self._unsent += data
            self.flush()
            return
        if not self._unsent:
            out.paths.append(self)
        self._unsent += data

    def flush(self) -> None:
        """Write the deferred data of this socket now."""
        data, self._unsent = self._unsent, b""
        if data:
            self._transport.write(data)

    def unsent_bytes(self) -> int:
        """The number of bytes that are known to be unsent."""
        return len(self._unsent)

    def closed(self) -> None:
        """The socket has closed: release the receiver."""
        self.is_open = False
        self.receive = _ignore
        self._owner = None
        self._unsent = b""


class SocketPath(TransportPath):
    """
    The path over a Twisted TCP connection, which it bypasses.  Twisted still writes
    what the socket does not accept at once, and handles the loss of the socket.

    @ivar disconnecting: true if nothing more is to be read.
    """

    __slots__ = ("_batch", "_is_clogged", "_recv", "_send", "disconnecting")

    def __init__(
        self,
        transport: Connection,
        owner: PathOwner,
        receive: Receive,
        *,
        masks: bool,
        max_payload_bytes: int,
    ) -> None:
        super().__init__(
            transport, owner, receive, masks=masks, max_payload_bytes=max_payload_bytes
        )
        self.disconnecting = False
        transport.bufferSize = READ_BYTES
        self._recv = transport.socket.recv
        self._send = transport.socket.send
        self._batch: BatchReader | None = None
        # The answer to the handshake may still be queued.
        self._is_clogged = True

    def join(self, batch: BatchReader) -> None:
        """
        Let the batch read the socket from now on, instead of the reactor.

        @raise OSError: there is no descriptor for the set, or no room in it; the
            reactor keeps reading the socket.
        """
        batch.adopt(self)
        self._batch = batch
        self._out = batch.out
        tcp = self._transport
        tcp.stopReading()
        # All of Twisted's ways to close, abort or pause the connection call these.
        tcp.stopReading = self._stop_reading
        tcp.startReading = self._start_reading

    def flush(self) -> None:
        data, self._unsent = self._unsent, b""
        if not data:
            return
        if self._is_clogged:
            if is_queued(self._transport):
                self._transport.write(data)
                return
            self._is_clogged = False
        try:
            sent: int = self._send(data)
        except OSError:
            # The socket is full or broken: Twisted's own write handles both.
            sent = 0
        if sent < len(data):
            self._is_clogged = True
            self._transport.write(data[sent:])

    def unsent_bytes(self) -> int:
        return len(self._unsent) + queued_bytes(self._transport)

    def closed(self) -> None:
        super().closed()
        if self._batch is not None:
            self._batch.release(self)
            self._batch = None
            del self._transport.stopReading, self._transport.startReading

    # -- MediaSocket -----------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return bool(self._transport.connected)

    def fileno(self) -> int:
        number: int = self._transport.fileno()
        return number

    def doRead(self) -> Exception | None:
        try:
            data = self._recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        payload = self.reader.whole(data) if self.is_open else None
        if payload is None:
            self._transport.protocol.dataReceived(data)
            return None
        try:
            self.receive(payload, data[0] == BINARY)
        except Exception:
            if self._owner is None:
                raise
            self._owner.receive_failed()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The batch reports that the connection is lost."""
        try:
            self._transport.connectionLost(reason)
        except MemoryError:
            # It has stopped reading, but has not notified all its observers: the
            # batch tries again.
            self.disconnecting = False
            raise

    # -- inside ----------------------------------------------------------------------

    def _stop_reading(self) -> None:
        self.disconnecting = True

    def _start_reading(self) -> None:
        self.disconnecting = False
        if self._batch is not None:
            self._batch.adopt(self)


def _ignore(payload: bytes, is_binary: bool) -> None:
    """Does nothing; the receiver of a closed socket."""
