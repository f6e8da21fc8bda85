"""
Peers over TCP (RFC 6544), with a frame for each packet (RFC 4571): for networks that
block UDP.

An incoming connection is a stranger's until it has sent a valid check.  Until then its
time and its bytes are limited, and it counts towards the limit of strangers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from chime_gateway.net.path.inside_twisted import is_queued, write_at_once
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.timer import Timer
from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.sockets import Send
from chime_gateway.wire.address import canonical
from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.candidate import (
    TCP_PASSIVE_PREFERENCE,
    Candidate,
    Path,
    priority,
)
from chime_gateway.wire.webrtc.framing import MOST_BYTES, FrameReader, frame

if TYPE_CHECKING:
    from chime_gateway.webrtc.peer import Peer

#: Limits for a stranger's connection, which must send a valid check within them: a
#: check has 100 bytes, and is repeated some times.
_STRANGER_SECONDS: Final = 10.0
_STRANGER_BYTES: Final = 4096

#: Maximum number of a peer's connections: a browser has one for each of its addresses.
_MOST_CONNECTIONS: Final = 8

#: Time limit of opening a connection, and maximum number of connections to open.
_DIAL_SECONDS: Final = 10.0
_MOST_DIALS: Final = 4


@implementer(IPushProducer)
class TcpConnection(Protocol):
    """
    A connection of a peer: the local socket of a L{Path}.

    Packets that the peer does not read in time are lost, as on UDP: late packets are
    useless.

    @ivar peer: the peer that it belongs to; C{None}: not known yet, or the peer is
        gone.
    """

    transport: Connection

    def __init__(self, peer: Peer | None = None) -> None:
        self.peer = peer
        self.path = Path(self, "", 0, True)
        self._reader = FrameReader()
        self._is_full = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        there: Any = self.transport.getPeer()
        self.path = Path(self, canonical(there.host), there.port, True)

    def dataReceived(self, data: bytes) -> None:
        for packet in self._reader.feed(data):
            if self.peer is None:
                return
            self.peer.received(packet, self.path)

    def send(self, data: bytes, address: Address) -> bool:
        if self._is_full or len(data) > MOST_BYTES or not self.transport.connected:
            return False
        write_at_once(self.transport, frame(data))
        return True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        peer, self.peer = self.peer, None
        self.transport.unregisterProducer()
        if peer is not None:
            peer.path_lost(self.path)

    def end(self) -> None:
        """Close the connection, as its peer is gone; drop unsent data."""
        self.peer = None
        transport = self.transport
        transport.unregisterProducer()
        if is_queued(transport):
            transport.abortConnection()
        else:
            transport.loseConnection()

    # -- IPushProducer -----------------------------------------------------------

    def pauseProducing(self) -> None:
        self._is_full = True

    def resumeProducing(self) -> None:
        self._is_full = False

    def stopProducing(self) -> None:
        """The connection ends."""


class _Incoming(TcpConnection):
    """An incoming connection."""

    def __init__(self, listener: PassiveTcp) -> None:
        super().__init__()
        self._listener = listener
        self._timer = Timer(listener.clock)
        self._bytes = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        self._timer.start(_STRANGER_SECONDS, self._slow)
        self._listener.came(self)

    def dataReceived(self, data: bytes) -> None:
        if self.peer is not None:
            super().dataReceived(data)
            return
        self._bytes += len(data)
        if self._bytes > _STRANGER_BYTES:
            self._refuse("bytes")
            return
        for packet in self._reader.feed(data):
            if self.peer is not None:
                self.peer.received(packet, self.path)
                continue
            refused = self._listener.introduced(self, packet)
            if refused:
                self._refuse(refused)
                return

    def known(self, peer: Peer) -> None:
        """Assign the connection to a peer."""
        self.peer = peer
        self._timer.stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._timer.stop()
        self._listener.left(self)
        super().connectionLost(reason)

    def _slow(self) -> None:
        self._refuse("slow")

    def _refuse(self, why: str) -> None:
        self._listener.dropped[why] += 1
        self.transport.abortConnection()


class PassiveTcp(Factory):
    """
    The factory of incoming connections, for all peers.  Implements L{Sockets}.

    @param public: hosts and ports for the candidates.
    @param strangers: the connections that have not sent a valid check yet.
    @ivar dropped: number of refused connections, by reason.
    """

    noisy = False

    def __init__(
        self, clock: IReactorTime, public: Sequence[Address], strangers: Connections
    ) -> None:
        self.clock = clock
        self.dropped: Counter[str] = Counter()
        self.candidates = tuple(
            Candidate(
                host,
                port,
                priority("host", TCP_PASSIVE_PREFERENCE - at),
                f"tcp{at + 1}",
                "tcp",
                tcp_type="passive",
            )
            for at, (host, port) in enumerate(public)
        )
        self._strangers = strangers
        self._unknown: set[TcpConnection] = set()
        self._by_ufrag: dict[str, Peer] = {}
        self._connections: dict[Peer, set[TcpConnection]] = {}

    def __len__(self) -> int:
        """Return the number of connections that belong to a peer."""
        return sum(map(len, self._connections.values()))

    def buildProtocol(self, addr: IAddress | None) -> TcpConnection:
        return _Incoming(self)

    def stopFactory(self) -> None:
        """Close the connections of strangers; those of peers stay."""
        for connection in list(self._unknown):
            connection.transport.abortConnection()

    def join(self, peer: Peer) -> None:
        self._by_ufrag[peer.local.ufrag] = peer
        self._connections[peer] = set()

    def leave(self, peer: Peer) -> None:
        self._by_ufrag.pop(peer.local.ufrag, None)
        for connection in self._connections.pop(peer, ()):
            connection.end()

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        """Return none: this class only accepts connections; L{ActiveTcp} opens them."""
        return ()

    def settle(self, peer: Peer, path: Path) -> Send | None:
        """Do nothing: each path is a connection."""
        return None

    # -- its connections ---------------------------------------------------------

    def came(self, connection: TcpConnection) -> None:
        self._unknown.add(connection)
        self._strangers.came(connection.transport)

    def introduced(self, connection: _Incoming, packet: bytes) -> str:
        """
        Process a packet of a stranger's connection.

        @return: why it must be closed; empty: it may stay, as a stranger's or a peer's.
        """
        try:
            username = stun.decode(packet).username or ""
        except stun.StunError:
            return "stun"
        peer = self._by_ufrag.get(username.partition(":")[0])
        if peer is None:
            return "ufrag"
        peer.received(packet, connection.path)
        if not peer.knows(connection.path):
            # Perhaps a role conflict: the next check may be valid.
            return ""
        connections = self._connections[peer]
        if len(connections) >= _MOST_CONNECTIONS:
            return "crowded"
        connections.add(connection)
        self._unknown.discard(connection)
        self._strangers.known(connection.transport)
        connection.known(peer)
        return ""

    def left(self, connection: TcpConnection) -> None:
        if connection in self._unknown:
            self._unknown.discard(connection)
            self._strangers.left(connection.transport)
        elif connection.peer is not None:
            self._connections.get(connection.peer, set()).discard(connection)


class ActiveTcp:
    """
    The connections to one peer's passive candidates.  Implements L{Sockets}.

    @param after: seconds to wait for a path over UDP before they are opened.
    """

    candidates: Sequence[Candidate] = ()

    def __init__(self, reactor: Any, after: float = 1.0) -> None:
        self._reactor = reactor
        self._after = after
        self._peer: Peer | None = None
        self._wanted: list[Candidate] = []
        self._timer = Timer(reactor)
        self._dials: dict[_Dial, Any] = {}

    def join(self, peer: Peer) -> None:
        self._peer = peer

    def leave(self, peer: Peer) -> None:
        self._peer = None
        self._timer.stop()
        self._wanted.clear()
        dials, self._dials = self._dials, {}
        for dial, connector in dials.items():
            if dial.connection is not None:
                dial.connection.end()
            else:
                connector.disconnect()

    def settle(self, peer: Peer, path: Path) -> Send | None:
        """Do nothing: each path is a connection."""
        return None

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        if candidate.tcp_type == "passive" and len(self._wanted) < _MOST_DIALS:
            self._wanted.append(candidate)
            if not self._timer.is_running:
                self._timer.start(self._after, self._dial_all)
        return ()

    # -- inside ----------------------------------------------------------------

    def _dial_all(self) -> None:
        peer, wanted = self._peer, list(self._wanted)
        self._wanted.clear()
        if peer is None or peer.path is not None:
            return
        for candidate in wanted:
            dial = _Dial(self, candidate)
            self._dials[dial] = self._reactor.connectTCP(
                candidate.host, candidate.port, dial, timeout=_DIAL_SECONDS
            )

    def opened(self, dial: _Dial, connection: TcpConnection) -> None:
        peer = self._peer
        if peer is None:
            connection.end()
            return
        connection.peer = peer
        peer.path_opened(connection.path, dial.candidate)

    def ended(self, dial: _Dial) -> None:
        self._dials.pop(dial, None)


class _Outgoing(TcpConnection):
    """An outgoing connection."""

    def __init__(self, dial: _Dial) -> None:
        super().__init__()
        self._dial = dial

    def connectionMade(self) -> None:
        super().connectionMade()
        self._dial.connection = self
        self._dial.owner.opened(self._dial, self)


class _Dial(ClientFactory):
    """One attempt to connect, and its connection."""

    noisy = False

    def __init__(self, owner: ActiveTcp, candidate: Candidate) -> None:
        self.owner = owner
        self.candidate = candidate
        self.connection: TcpConnection | None = None

    def buildProtocol(self, addr: IAddress | None) -> TcpConnection:
        return _Outgoing(self)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self.owner.ended(self)

    def clientConnectionLost(self, connector: object, reason: Failure) -> None:
        self.connection = None
        self.owner.ended(self)
