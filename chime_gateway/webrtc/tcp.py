"""
Peers over TCP (RFC 6544), one frame for each packet (RFC 4571): for networks without
UDP.

An incoming connection is a stranger's until one of its checks has the right
integrity.  Until then it has little time and few bytes, and counts among all
strangers.
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

#: A stranger shows within these which peer it belongs to: a check has 100 bytes, and
#: is repeated some times.
_STRANGER_SECONDS: Final = 10.0
_STRANGER_BYTES: Final = 4096

#: Connections of one peer's: a browser has one for each of its addresses.
_MOST_CONNECTIONS: Final = 8

#: A connection that is not open by then is given up.
_DIAL_SECONDS: Final = 10.0
_MOST_DIALS: Final = 4


@implementer(IPushProducer)
class TcpConnection(Protocol):
    """
    A connection, once it is whose it is: a socket of L{Path}.

    What the other side does not take is lost, as on UDP: a late packet is worth
    nothing.

    @ivar peer: that it belongs to; C{None}: not known yet, or the peer is gone.
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
        """Its peer is gone: close it, and drop what is not sent by now."""
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
        """It belongs to this peer from now on."""
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
    Connections that come in, of all peers; L{Sockets}, to be listened with.

    @param public: hosts and ports to be told (of candidates).
    @param strangers: those that have not proved yet whose they are.
    @ivar dropped: connections that were refused, by reason.
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
        """Connections that belong to a peer."""
        return sum(map(len, self._connections.values()))

    def buildProtocol(self, addr: IAddress | None) -> TcpConnection:
        return _Incoming(self)

    def stopFactory(self) -> None:
        """No new connections are taken; those of peers stay."""
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
        """None: connections come in here, and are opened by L{ActiveTcp}."""
        return ()

    def settle(self, peer: Peer, path: Path) -> Send | None:
        """Each path is a connection."""
        return None

    # -- its connections ---------------------------------------------------------

    def came(self, connection: TcpConnection) -> None:
        self._unknown.add(connection)
        self._strangers.came(connection.transport)

    def introduced(self, connection: _Incoming, packet: bytes) -> str:
        """
        The first packets of one of them.

        @return: why it is to go; empty: it may stay, as a stranger or a peer's.
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
            # Perhaps we disagree about roles, and the next one is right.
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
    Connections that one peer opens to passive candidates; L{Sockets}.

    @param after: seconds that UDP has to find a path without them.
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
        """Each path is a connection."""
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
    """One attempt, and its connection."""

    noisy = False

    def __init__(self, owner: ActiveTcp, candidate: Candidate) -> None:
        self.owner = owner
        self.candidate = candidate
        self.connection: TcpConnection | None = None

    def buildProtocol(self, addr: IAddress | None) -> TcpConnection:
        return _Outgoing(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.owner.ended(self)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        self.connection = None
        self.owner.ended(self)
