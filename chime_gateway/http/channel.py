"""
An HTTP connection, which any peer may open: reads in small pieces and writes nothing
to disk.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final
from weakref import WeakSet

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from chime_gateway.http.turns import Turns
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.timer import Timer

#: How much of a request's body is kept; no request of this gateway needs as much.
MAX_KEPT_BYTES: Final = 128 * 1024

#: The time allowed from the first byte of a request, or from the connection's start,
#: to the last byte.
REQUEST_SECONDS: Final = 20.0

#: The most that is read from one connection in one turn of the reactor.
MAX_PIECE_BYTES: Final = 4096

_CONTINUES_A_HEADER: Final = b" \t"

#: More than any real length needs.  Python refuses to convert far longer numbers.
_MAX_LENGTH_DIGITS: Final = 18


class _WithoutBody:
    """A page requested with C{HEAD}; Twisted would log a line if it had a body."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def render(self, request: Request) -> Any:
        body = self._page.render(request)
        if not isinstance(body, bytes):
            return body
        request.setHeader(b"Content-Length", b"%d" % len(body))
        return b""


class BoundedRequest(Request):
    """A request whose body is always kept in memory, up to a maximum size."""

    def gotLength(self, length: int | None) -> None:
        # Twisted would write a body that is long, or of unknown length, to a file.
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        assert self.content is not None
        room = MAX_KEPT_BYTES - self.content.tell()
        if room > 0:
            super().handleContentChunk(data[:room])

    def render(self, resrc: Any) -> None:
        super().render(_WithoutBody(resrc) if self.method == b"HEAD" else resrc)


class OpenConnections:
    """
    The open connections of a site.

    @ivar is_retired: another process has the port now.  Each connection is closed
        with its next response, so that the peer's next request goes to that process.
    """

    def __init__(self) -> None:
        self.channels: WeakSet[Any] = WeakSet()
        self.is_retired = False

    def __len__(self) -> int:
        """The number of connections that have not become streams."""
        return sum(channel.transport is not None for channel in self.channels)


class Channel(HTTPChannel):
    """
    Handles one request at a time.  Bytes that a peer sends after a request, before it
    has the response, are not read, and the connection is closed with that response
    (RFC 9112 section 9.3.2: a client that pipelines requests sends the others again).
    This also prevents request smuggling.

    @ivar turns: limits the work of all connections in one turn of the reactor.
    @ivar connections: the strangers' connections.
    @ivar open_connections: all open connections of the site.
    @ivar request_due: expires if a request is not complete in time, however steadily
        its bytes arrive.
    """

    #: How long Twisted waits for a peer to read the rest before it aborts, in seconds.
    abortTimeout = 5

    turns: Turns
    connections: Connections
    open_connections: OpenConnections
    request_due: Timer

    _log = Logger()

    _unread = b""
    _is_waiting = False
    _is_leaving = False
    persistent: Any
    transport: Any

    def connectionMade(self) -> None:
        super().connectionMade()
        self.request_due.start(REQUEST_SECONDS, self._too_slow)
        self.connections.came(self.transport)
        self.open_connections.channels.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._is_leaving:
            return
        if not self.request_due.is_running and not self._handlingRequest:
            self.request_due.start(REQUEST_SECONDS, self._too_slow)
        self._unread += data
        if self._is_waiting:
            return
        if self.turns.take():
            self._read()
        else:
            self._wait()

    def _wait(self) -> None:
        self._is_waiting = True
        self._networkProducer.pauseProducing()
        self.turns.wait(self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        if not self._unread:
            return  # the connection is gone
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        self._read()

    def _read(self) -> None:
        piece = self._unread[:MAX_PIECE_BYTES]
        self._unread = self._unread[MAX_PIECE_BYTES:]
        try:
            super().dataReceived(piece)
        except Exception:
            # When this runs from the queue, the reactor does not catch it.
            self._log.failure("could not read a request")
            self._unread = b""
            self.transport.abortConnection()
        if self._unread and not self._is_waiting:
            self._wait()

    def lineReceived(self, line: bytes) -> None:
        if line[:1] and line[:1] in _CONTINUES_A_HEADER:
            # Obsolete line folding (RFC 9112 section 5.2): no current client sends
            # it, and joining the lines takes time quadratic in their number.
            self._respondToBadRequestAndDisconnect()
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        digits = value.strip(b" \t")
        if name.lower() == b"content-length" and len(digits) > _MAX_LENGTH_DIGITS:
            self._respondToBadRequestAndDisconnect()
            return False
        is_good: bool = super().headerReceived(line)
        return is_good

    def loseConnection(self) -> None:
        # What follows a refused request is not parsed as a request.
        self._is_leaving = True
        self._unread = b""
        super().loseConnection()

    def _too_slow(self) -> None:
        if self.requests:
            head = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"
            self.transport.write(head)
        self.timeoutConnection()

    def timeoutConnection(self) -> None:
        self.connections.tell("slow", self.transport)
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        # Overridden because Twisted would log a line for each.
        self._abortingCall = None
        self.transport.abortConnection()

    def requestDone(self, request: Request) -> None:
        self.connections.answered(self.transport)
        super().requestDone(request)

    def allContentReceived(self) -> None:
        self.request_due.stop()
        behind = b"".join((*self._dataBuffer, self.clearLineBuffer(), self._unread))
        self._dataBuffer.clear()
        self._unread = b""
        if behind.strip(b"\r\n") or self.open_connections.is_retired:
            self.persistent = False
            headers = self.requests[-1].responseHeaders
            headers.setRawHeaders(b"Connection", [b"close"])
        super().allContentReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._unread = b""
        self.request_due.stop()
        self.connections.left(self.transport)
        self.open_connections.channels.discard(self)
        super().connectionLost(reason)
