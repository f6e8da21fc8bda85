"""A media socket in memory: a path at one end of a socket pair, a peer at the other."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from chime_gateway.net.batch import BatchReader
from chime_gateway.net.path.socket_path import SocketPath, TransportPath
from chime_gateway.wire.websocket_frame import NOT_PLAIN, OPCODE_BINARY

LIMIT = 1 << 20


class DescriptorReactor(Clock):
    """The part of a reactor that a connection needs."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def turn(self) -> None:
        """Read and write once wherever that is possible."""
        self.advance(0)
        for readers, method in ((self.readers, "doRead"), (self.writers, "doWrite")):
            for one in list(readers):
                why = getattr(one, method)()
                if why is not None:
                    one.connectionLost(Failure(why))


class Owner(Protocol):
    """
    The owner of a path's socket.

    @ivar heard: messages, and pieces that are not single complete frames.
    @ivar lost: why the connection was lost.
    @ivar opening: receives data that comes before the path is opened.
    @ivar is_paused: whether it is paused as a producer.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, bool]] = []
        self.odd = b""
        self.failures = 0
        self.lost: Failure | None = None
        self.path: TransportPath | None = None
        self.answer: Callable[[bytes], None] | None = None
        self.opening: Callable[[bytes], bytes] | None = None
        self.is_paused = False

    def receive(self, payload: bytes, is_binary: bool) -> None:
        self.heard.append((payload, is_binary))
        if self.answer is not None:
            self.answer(payload)

    def receive_failed(self) -> None:
        self.failures += 1

    def dataReceived(self, data: bytes) -> None:
        if self.opening is not None:
            opened, self.opening = self.opening, None
            data = opened(data)
        assert self.path is not None
        for opcode, payload in self.path.reader.feed(data):
            if opcode == NOT_PLAIN:
                self.odd += payload
            else:
                self.receive(payload, opcode == OPCODE_BINARY)

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def stopProducing(self) -> None: ...

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        if self.path is not None:
            self.path.closed()


class PathPair:
    """
    A path and its peer.

    @param masks: the path is that of a client.
    @param small: the socket accepts little data at a time.
    @param beside: another pair in the same batch.
    @ivar far: the peer's socket.
    """

    def __init__(
        self,
        *,
        masks: bool = False,
        small: bool = False,
        beside: PathPair | None = None,
    ) -> None:
        self.reactor: DescriptorReactor = (
            DescriptorReactor() if beside is None else beside.reactor
        )
        self.batch: BatchReader = (
            BatchReader(self.reactor) if beside is None else beside.batch
        )
        near, self.far = socket.socketpair()
        self.far.setblocking(False)
        if small:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        self.owner = Owner()
        self.tcp = Connection(near, self.owner, cast(Any, self.reactor))
        self.tcp.connected = 1
        self.tcp.startReading()
        self.masks = masks
        self.path = self.new_path()

    def new_path(self) -> SocketPath:
        path = SocketPath(
            self.tcp,
            self.owner,
            self.owner.receive,
            masks=self.masks,
            max_payload_bytes=LIMIT,
        )
        self.owner.path = path
        return path

    def turn(self) -> None:
        """Run a turn of the reactor."""
        self.reactor.turn()

    def taken(self, most: int = 1 << 20) -> bytes:
        """Return what the peer can read now."""
        try:
            return self.far.recv(most)
        except (BlockingIOError, ConnectionResetError):
            return b""

    def all_taken(self) -> bytes:
        """Return what the peer reads until nothing is left to write."""
        taken = b""
        while True:
            data = self.taken()
            taken += data
            if not data and not self.reactor.writers:
                return taken
            self.turn()

    def close(self) -> None:
        for end in (self.far, self.tcp):
            with contextlib.suppress(AttributeError, OSError):
                end.close() if end is self.far else self.tcp.socket.close()
        self.batch.connectionLost(Failure(ConnectionError()))
