"""
The UDP socket and the TCP and TLS connections of SIP: receives and sends messages (RFC
3261 section 18).

It splits streams into messages, and limits who may open connections.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define, field, frozen
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from chime_gateway.carriers.sip.access import Access, FlowKey
from chime_gateway.carriers.sip.transport.turns import PIECE_BYTES, Turns
from chime_gateway.net.strangers.connections import place_of
from chime_gateway.wire.address import canonical, mapped
from chime_gateway.wire.sip.framing import StreamFramer
from chime_gateway.wire.sip.message import BadMessage, Source

#: A connection is closed when nothing has come on it for this long.  Dialogs do not
#: depend on connections.
IDLE_SECONDS: Final = 300.0

#: A connection has to bring its first message within this time.
FIRST_SECONDS: Final = 20.0

#: A closing connection is aborted if the peer has not closed it within this time.
CLOSE_SECONDS: Final = 5.0

MAX_CONNECTIONS: Final = 1000
MAX_CONNECTIONS_PER_HOST: Final = 100


def _ignore(_: object) -> None:
    """The default of a callback that is not set."""


class Way(Protocol):
    """
    A connection of any process of this gateway.

    @ivar is_open: messages can be sent.
    """

    is_open: bool

    def send(self, data: bytes) -> None:
        """Send.  Never raises."""


@frozen
class Flow:
    """
    The path that a message came by, and the path back.

    @ivar transport: C{udp}, C{tcp} or C{tls}.
    @ivar connection: the connection, for TCP and TLS.
    """

    transport: str
    source: Source
    connection: Way | None = field(default=None, eq=False, repr=False)

    @property
    def is_reliable(self) -> bool:
        return self.transport != "udp"

    @property
    def key(self) -> FlowKey:
        """The key for limits of malformed messages."""
        return self.transport, self.source.host, self.source.port


class Receiver(Protocol):
    """Receives messages."""

    def message_received(self, data: bytes, flow: Flow) -> None: ...
    def stream_broken(self, bad: BadMessage, flow: Flow) -> None:
        """A stream is malformed.  It is closed after this."""


class Datagrams(DatagramProtocol):
    """
    One UDP socket.

    @param lost: called when it is closed for any reason.
    @param is_ipv6: it is an IPv6 socket, where IPv4 addresses are mapped.
    """

    noisy = False
    transport: Any

    def __init__(
        self,
        receiver: Receiver,
        access: Access,
        lost: Callable[[], None],
        is_ipv6: bool = False,
    ) -> None:
        self._receiver = receiver
        self._access = access
        self._lost = lost
        self._is_ipv6 = is_ipv6

    def stopProtocol(self) -> None:
        self._lost()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        host, port = canonical(addr[0]), addr[1]
        if not self._access.admits(host):
            return
        if not datagram.strip(b"\r\n\0"):
            return  # a keep-alive
        flow = Flow("udp", Source(host, port))
        self._receiver.message_received(datagram, flow)

    def send(self, data: bytes, source: Source) -> None:
        """Send.  Never raises, so that a datagram cannot stop the end of a call."""
        host = mapped(source.host) if self._is_ipv6 else source.host
        try:
            self.transport.write(data, (host, source.port))
        except Exception:
            # Unreachable for now, too large, or not an address.  The transaction
            # repeats it or gives up.
            self._access.dropped["not_sent"] += 1


class Connection(StreamProtocol, TimeoutMixin):
    """
    One TCP or TLS connection, opened by either side.

    @ivar is_open: messages can be sent.
    """

    transport: Any
    is_open = False
    _is_connected = False
    _is_closing = False
    _log = Logger()

    def __init__(self, transport_name: str, streams: Streams) -> None:
        self._streams = streams
        self._framer = StreamFramer()
        self._unread = bytearray()
        self._transport_name = transport_name
        self.flow: Flow

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        return self._streams.reactor.callLater(period, func)

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        source = Source(canonical(peer.host), peer.port)
        self.flow = Flow(self._transport_name, source, self)
        self.is_open = self._is_connected = True
        self.transport.setTcpNoDelay(True)
        self._streams.opened(self)
        self.setTimeout(FIRST_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        if self._unread:
            self._unread += data
            return
        for at in range(0, len(data), PIECE_BYTES):
            if self._is_closing:
                return
            if not self._streams.turns.has_time():
                self._unread += data[at:]
                # Until then the peer's data stays in the socket.
                self.transport.pauseProducing()
                self._streams.turns.wait(self._read_piece)
                return
            self._read(data[at : at + PIECE_BYTES])

    def _read_piece(self) -> bool:
        """@return: whether there is more to read."""
        piece = bytes(self._unread[:PIECE_BYTES])
        del self._unread[:PIECE_BYTES]
        try:
            if piece and not self._is_closing:
                self._read(piece)
            if self._is_closing:
                self._unread.clear()
            if not self._unread and self._is_connected:
                self.transport.resumeProducing()
        except Exception:
            # As the reactor does when reading fails.
            self._unread.clear()
            self.transport.abortConnection()
            with contextlib.suppress(MemoryError):
                self._log.failure("a bug in reading a SIP connection")
        return bool(self._unread)

    def _read(self, data: bytes) -> None:
        try:
            messages = self._framer.feed(data)
        except BadMessage as bad:
            self._streams.receiver.stream_broken(bad, self.flow)
            self.close()
            return
        if self._framer.pings:
            self._framer.pings = 0
            self.transport.write(b"\r\n")
            self.setTimeout(IDLE_SECONDS)
        for message in messages:
            # Only whole messages count: half a message must not keep it open.
            self.setTimeout(IDLE_SECONDS)
            self._streams.receiver.message_received(message, self.flow)

    def close(self) -> None:
        """Close.  Under TLS the peer has to close as well, so this has a timeout."""
        self.is_open, self._is_closing = False, True
        self.setTimeout(CLOSE_SECONDS)
        self.transport.loseConnection()

    def timeoutConnection(self) -> None:
        if self._is_closing:
            self.transport.abortConnection()
        else:
            self.close()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.setTimeout(None)
        self.is_open = self._is_connected = False
        # The response to each unread request would need a new connection.
        self._unread.clear()
        self._streams.closed(self)

    def send(self, data: bytes) -> None:
        """Send.  Never raises, as over UDP."""
        if not self._is_closing:
            self.setTimeout(IDLE_SECONDS)
        try:
            self.transport.write(data)
        except Exception:
            self._streams.access.dropped["not_sent"] += 1


@define(eq=False)
class Streams:
    """
    All connections of the carrier.

    @ivar told_closed: called with each connection that is closed.
    """

    receiver: Receiver
    access: Access
    reactor: Any
    told_closed: Callable[[Connection], object] = _ignore
    connections: set[Connection] = field(factory=set)
    turns: Turns = field(init=False)
    _by_host: Counter[str] = field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self.turns = Turns(self.reactor)

    def may_open(self, host: str) -> bool:
        if not self.access.admits(host):
            return False
        full = (
            len(self.connections) >= MAX_CONNECTIONS
            or self._by_host[place_of(host)] >= MAX_CONNECTIONS_PER_HOST
        )
        if full:
            self.access.dropped["too_many_connections"] += 1
        return not full

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._by_host[place_of(connection.flow.source.host)] += 1

    def closed(self, connection: Connection) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        place = place_of(connection.flow.source.host)
        self._by_host[place] -= 1
        if not self._by_host[place]:
            del self._by_host[place]
        self.told_closed(connection)

    def to(self, transport: str, host: str, port: int) -> Connection | None:
        """Return an open connection to this address, if there is one."""
        for connection in self.connections:
            flow = connection.flow
            is_there = flow.transport == transport and flow.source == Source(host, port)
            if is_there and connection.is_open:
                return connection
        return None


class _Refusal(StreamProtocol):
    """
    Closes a connection at once.  Without a protocol Twisted closes it, too, but under
    TLS it logs a traceback and leaves the descriptor open.
    """

    transport: Any

    def connectionMade(self) -> None:
        self.transport.abortConnection()


class ClientFactory(Factory):
    """Makes connections that the gateway opens."""

    noisy = False

    def __init__(self, transport_name: str, streams: Streams) -> None:
        self._transport_name = transport_name
        self._streams = streams

    def buildProtocol(self, addr: object) -> StreamProtocol:
        return Connection(self._transport_name, self._streams)


class ServerFactory(ClientFactory):
    """
    Accepts connections of peers.  They are refused before any work is done for them,
    above all a TLS handshake.

    @param tls: the TLS options; C{None}: TCP only.
    """

    def __init__(self, transport_name: str, streams: Streams, tls: Any) -> None:
        super().__init__(transport_name, streams)
        made: Any = ClientFactory(transport_name, streams)
        if tls is not None:
            made = TLSMemoryBIOFactory(tls, False, made, streams.reactor)
        self._made = made

    def buildProtocol(self, addr: Any) -> StreamProtocol:
        if not self._streams.may_open(canonical(addr.host)):
            return _Refusal()
        protocol: StreamProtocol = self._made.buildProtocol(addr)
        return protocol
