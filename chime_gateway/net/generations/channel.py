"""
Messages between two processes of one gateway, over a pair of Unix sockets of which one
process has inherited its end.  No other process has these descriptors.

A message is a kind, a JSON object and bytes.  It is sent in pieces whose boundaries
the kernel preserves (C{SOCK_SEQPACKET}).  So another process can continue to read or
write where one has stopped: each newest process passes its end on to its successor.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: Size of a piece: some fit into a socket's buffer, whatever the system's default is.
PIECE_BYTES: Final = 32_768

#: Maximum size of a message; pages of the API are hardly ever that long.
MOST_BYTES: Final = 4_000_000

#: Maximum unsent bytes for a process that does not read.
MOST_WAITING: Final = 8_000_000

#: Maximum number of pieces read in one turn of the reactor.
_PIECES_A_TURN: Final = 16

_FIRST: Final = 1
_LAST: Final = 2


@frozen
class Message:
    """
    @ivar kind: the receiving part of the gateway, and the type: C{sip.request}.
    @ivar head: an object that JSON can hold.
    @ivar body: any bytes.
    """

    kind: str
    head: Mapping[str, Any] = field(factory=dict)
    body: bytes = b""

    def to_bytes(self) -> bytes:
        head = json.dumps([self.kind, self.head], separators=(",", ":"))
        return head.encode() + b"\n" + self.body

    @classmethod
    def of_bytes(cls, data: bytes) -> Message:
        """
        @raise ValueError: the data is not a message.
        """
        head, _, body = data.partition(b"\n")
        match json.loads(head):
            case [str(kind), dict(values)]:
                return cls(kind, values, body)
        raise ValueError("a message has a kind and an object")


def pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends of a channel; they are not inherited unless requested."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


@implementer(IReadWriteDescriptor)
class Channel:
    """
    One end of a channel.

    @ivar is_open: whether the other side is connected and this end was not closed.
    @param received: called with each message.
    @param lost: called once when the other side is gone; not when this end closes.
    """

    _log = Logger()

    def __init__(
        self,
        end: socket.socket,
        reactor: Any,
        received: Callable[[Message], object],
        lost: Callable[[], object],
    ) -> None:
        self.is_open = True
        self._end = end
        self._reactor = reactor
        self._received = received
        self._lost = lost
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._begun: list[bytes] | None = None
        self._begun_bytes = 0

    # -- to be used ----------------------------------------------------------------

    def start(self) -> None:
        """Read from now on."""
        if self.is_open:
            self._reactor.addReader(self)

    def hold(self) -> None:
        """Stop reading: another process that has this end, too, reads it."""
        self._reactor.removeReader(self)
        self._begun = None

    def send(
        self, kind: str, head: Mapping[str, object] | None = None, body: bytes = b""
    ) -> bool:
        """
        Send a message.

        @return: C{False} if it was not sent: it is too long, or the other side is gone
            or does not read.
        """
        data = Message(kind, head or {}, body).to_bytes()
        if not self.is_open or len(data) > MOST_BYTES:
            return False
        if self._waiting_bytes + len(data) > MOST_WAITING:
            return False
        last = max(0, len(data) - 1) // PIECE_BYTES
        for at in range(last + 1):
            flags = (_FIRST if at == 0 else 0) | (_LAST if at == last else 0)
            piece = data[at * PIECE_BYTES : (at + 1) * PIECE_BYTES]
            self._waiting.append(bytes([flags]) + piece)
            self._waiting_bytes += len(piece) + 1
        self.doWrite()
        return True

    def close(self) -> None:
        """Close this process's descriptor of this end; C{lost} is not called."""
        if self.is_open:
            self.is_open = False
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._waiting.clear()
            self._end.close()

    # -- IReadWriteDescriptor ------------------------------------------------------

    def fileno(self) -> int:
        return self._end.fileno()

    def logPrefix(self) -> str:
        return "generations"

    def doRead(self) -> None:
        for _ in range(_PIECES_A_TURN):
            if not self.is_open:
                return
            try:
                piece = self._end.recv(PIECE_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                self._gone()
                return
            self._read(piece)

    def doWrite(self) -> None:
        while self._waiting:
            try:
                self._end.send(self._waiting[0])
            except (BlockingIOError, InterruptedError):
                self._reactor.addWriter(self)
                return
            except OSError:
                # doRead finds out, after it has read what was sent before.
                self._waiting.clear()
                self._waiting_bytes = 0
                break
            self._waiting_bytes -= len(self._waiting.popleft())
        self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops, or has caught an exception of this class."""
        if reason.check(ConnectionDone, ConnectionLost) is None:
            self._log.error("a channel was lost: {why}", why=reason.getErrorMessage())
        if self.is_open:
            self._gone()

    # -- read ----------------------------------------------------------------------

    def _read(self, piece: bytes) -> None:
        flags, data = piece[0], piece[1:]
        if flags & _FIRST:
            self._begun, self._begun_bytes = [], 0
        if self._begun is None:
            return  # another process has read the beginning of the message
        self._begun_bytes += len(data)
        if self._begun_bytes > MOST_BYTES:
            self._begun = None
            return
        self._begun.append(data)
        if not flags & _LAST:
            return
        whole, self._begun = b"".join(self._begun), None
        try:
            message = Message.of_bytes(whole)
        except ValueError as exc:
            # Perhaps from another version of the program.
            self._log.warn(
                "malformed message from another process: {why}", why=str(exc)
            )
            return
        with self._log.failuresHandled("a message {kind} failed", kind=message.kind):
            self._received(message)

    def _gone(self) -> None:
        self.close()
        with self._log.failuresHandled("could not handle the end of a process"):
            self._lost()
