"""
SIP over UDP, TCP and TLS (RFC 3261 section 18): bytes to messages and out again.

It knows who may talk, how messages are cut from a stream, and which connection
leads where.  What a message means is not its business.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define, field, frozen
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from chime_gateway.errors import ConfigError
from chime_gateway.legs.sip_access import Access
from chime_gateway.legs.sip_tls import client_tls, server_tls
from chime_gateway.settings import SipListener, SipSettings
from chime_gateway.wire.sip import BadMessage, Source
from chime_gateway.wire.sipdialog import Hop
from chime_gateway.wire.sipframing import StreamFramer

#: A connection on which nothing comes for so long is closed; dialogs do not
#: depend on connections.
IDLE_SECONDS: Final = 300.0

#: A connection must bring its first message within this time.
FIRST_SECONDS: Final = 20.0

MAX_CONNECTIONS: Final = 1000
MAX_CONNECTIONS_PER_HOST: Final = 100

_CONNECT_SECONDS: Final = 10.0


@frozen
class Flow:
    """
    The way a message came, and the way back.

    @ivar transport: C{udp}, C{tcp} or C{tls}.
    @ivar connection: of a stream.
    """

    transport: str
    source: Source
    connection: Connection | None = field(default=None, eq=False, repr=False)

    @property
    def is_reliable(self) -> bool:
        return self.transport != "udp"


class Receiver(Protocol):
    """Who gets the messages."""

    def message_received(self, data: bytes, flow: Flow) -> None: ...
    def stream_broken(self, bad: BadMessage, flow: Flow) -> None:
        """The stream makes no sense; it is closed after this."""


class Datagrams(DatagramProtocol):
    """One UDP socket."""

    noisy = False
    transport: Any

    def __init__(self, receiver: Receiver, access: Access) -> None:
        self._receiver = receiver
        self._access = access

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        host, port = addr[0], addr[1]
        if not self._access.admits(host):
            return
        if not datagram.strip(b"\r\n\0"):
            return  # a keep-alive
        flow = Flow("udp", Source(host, port))
        self._receiver.message_received(datagram, flow)

    def send(self, data: bytes, source: Source) -> None:
        try:
            self.transport.write(data, (source.host, source.port))
        except OSError:
            # Unreachable for now; the transaction sends it again or gives up.
            self._access.dropped["not_sent"] += 1


class Connection(StreamProtocol, TimeoutMixin):
    """One TCP or TLS connection, whoever made it."""

    transport: Any
    is_open = False

    def __init__(self, transport_name: str, streams: Streams) -> None:
        self._streams = streams
        self._framer = StreamFramer()
        self._transport_name = transport_name
        self.flow: Flow

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        return self._streams.reactor.callLater(period, func)

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        self.flow = Flow(self._transport_name, Source(peer.host, peer.port), self)
        self.is_open = True
        self.transport.setTcpNoDelay(True)
        self._streams.opened(self)
        self.setTimeout(FIRST_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        if not self._streams.access.admits(self.flow.source.host):
            self.transport.abortConnection()
            return
        try:
            messages = self._framer.feed(data)
        except BadMessage as bad:
            self._streams.receiver.stream_broken(bad, self.flow)
            self.transport.loseConnection()
            return
        if self._framer.pings:
            self._framer.pings = 0
            self.transport.write(b"\r\n")
            self.setTimeout(IDLE_SECONDS)
        for message in messages:
            # A stream of half a message must not stay for ever.
            self.setTimeout(IDLE_SECONDS)
            self._streams.receiver.message_received(message, self.flow)

    def timeoutConnection(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.setTimeout(None)
        if self.is_open:
            self.is_open = False
            self._streams.closed(self)

    def send(self, data: bytes) -> None:
        self.setTimeout(IDLE_SECONDS)
        self.transport.write(data)


@define(eq=False)
class Streams:
    """All connections of the carrier."""

    receiver: Receiver
    access: Access
    reactor: Any
    connections: set[Connection] = field(factory=set)
    _by_host: Counter[str] = field(factory=Counter)

    def may_open(self, host: str) -> bool:
        if not self.access.admits(host):
            return False
        full = (
            len(self.connections) >= MAX_CONNECTIONS
            or self._by_host[host] >= MAX_CONNECTIONS_PER_HOST
        )
        if full:
            self.access.dropped["too_many_connections"] += 1
        return not full

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._by_host[connection.flow.source.host] += 1

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        host = connection.flow.source.host
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]

    def to(self, transport: str, host: str, port: int) -> Connection | None:
        """An open connection that leads there."""
        for connection in self.connections:
            flow = connection.flow
            if flow.transport == transport and flow.source == Source(host, port):
                return connection
        return None


class ClientFactory(Factory):
    """Connections of ours."""

    noisy = False

    def __init__(self, transport_name: str, streams: Streams) -> None:
        self._transport_name = transport_name
        self._streams = streams

    def buildProtocol(self, addr: Any) -> Connection | None:
        return Connection(self._transport_name, self._streams)


class ServerFactory(ClientFactory):
    """Connections that others make."""

    def buildProtocol(self, addr: Any) -> Connection | None:
        # Without a protocol Twisted closes the connection at once.
        if not self._streams.may_open(addr.host):
            return None
        return super().buildProtocol(addr)


def local_address_to(host: str) -> str:
    """The address of ours that packets to C{host} leave from; nothing is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


class SipTransports:
    """
    All listeners, and the ways out.

    @ivar ports: what is listened on, once started, by listener.
    """

    _log = Logger()

    def __init__(
        self, settings: SipSettings, receiver: Receiver, access: Access, reactor: Any
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._access = access
        self._receiver = receiver
        self._streams = Streams(receiver, access, reactor)
        self._datagrams: Datagrams | None = None
        self._is_stopped = False
        self.ports: list[tuple[SipListener, IListeningPort]] = []

    # -- life ------------------------------------------------------------------

    def start(self) -> None:
        """
        @raise ConfigError: a port or a certificate cannot be used.
        """
        for listener in self._settings.listen:
            name = f"{listener.transport}:{listener.port}"
            try:
                port = self._listen(listener)
            except (CannotListenError, OSError, ValueError) as exc:
                raise ConfigError(f"CHIMEGW_SIP_LISTEN {name}: {exc}") from exc
            self.ports.append((listener, port))

    def _listen(self, listener: SipListener) -> IListeningPort:
        reactor, number = self._reactor, listener.port
        interface = listener.interface
        port: IListeningPort
        if listener.transport == "udp":
            self._datagrams = Datagrams(self._receiver, self._access)
            port = reactor.listenUDP(
                number, self._datagrams, interface=interface, maxPacketSize=65535
            )
            return port
        factory = ServerFactory(listener.transport, self._streams)
        if listener.transport == "tcp":
            port = reactor.listenTCP(number, factory, interface=interface)
        else:
            options = server_tls(self._settings)
            port = reactor.listenSSL(number, factory, options, interface=interface)
        return port

    def stop(self) -> list[Any]:
        """Close everything; what is returned may have to be waited for."""
        self._is_stopped = True
        waiting = [port.stopListening() for _, port in self.ports]
        self.ports.clear()
        for connection in list(self._streams.connections):
            connection.transport.loseConnection()
        return waiting

    # -- addresses -------------------------------------------------------------

    def has(self, transport: str) -> bool:
        return any(listener.transport == transport for listener, _ in self.ports)

    def address(self, transport: str, remote_host: str) -> tuple[str, int]:
        """Where the other side can reach us: for Via and Contact."""
        for listener, port in self.ports:
            if listener.transport == transport:
                number: int = port.getHost().port  # type: ignore[attr-defined]
                return self.host(remote_host, listener.interface), number
        return self.host(remote_host), 5060

    def host(self, remote_host: str, interface: str = "") -> str:
        """Our address as the other side knows it."""
        if self._settings.public_address:
            return self._settings.public_address
        if interface and interface not in ("0.0.0.0", "::"):
            return interface
        return local_address_to(remote_host)

    @property
    def connection_count(self) -> int:
        return len(self._streams.connections)

    # -- out -------------------------------------------------------------------

    def reply(self, data: bytes, flow: Flow, via_port: int) -> None:
        """
        Send a response the way its request came.

        @param via_port: of the topmost Via: if the connection is gone, a new
            one is made to it (section 18.2.2).
        """
        if flow.connection is None or flow.connection.is_open:
            self.send(data, flow)
        else:
            source = flow.source
            self.connect(data, Hop(source.host, via_port, flow.transport), _ignore)

    def send_datagram(self, data: bytes, hop: Hop) -> None:
        """To an address, not a name."""
        self.send(data, Flow("udp", Source(hop.host, hop.port)))

    def send(self, data: bytes, flow: Flow) -> bool:
        """Whether there is such a way still."""
        if flow.connection is not None:
            if not flow.connection.is_open:
                return False
            flow.connection.send(data)
            return True
        if flow.is_reliable or self._datagrams is None:
            return False
        self._datagrams.send(data, flow.source)
        return True

    def connect(
        self,
        data: bytes,
        hop: Hop,
        failed: Callable[[], None],
        tls_name: str = "",
    ) -> None:
        """Send over a stream to C{hop}, on a connection that is open or a new one."""
        found = self._streams.to(hop.transport, hop.host, hop.port)
        if found is not None:
            found.send(data)
            return
        if self._is_stopped:
            return
        endpoint: Any = HostnameEndpoint(
            self._reactor, hop.host, hop.port, timeout=_CONNECT_SECONDS
        )
        if hop.transport == "tls":
            endpoint = wrapClientTLS(client_tls(tls_name or hop.host), endpoint)

        def opened(connection: Connection) -> None:
            connection.send(data)

        def refused(failure: Failure) -> None:
            self._log.warn(
                "no SIP connection to {host}:{port}: {why}",
                host=hop.host,
                port=hop.port,
                why=failure.getErrorMessage(),
            )
            failed()

        factory = ClientFactory(hop.transport, self._streams)
        endpoint.connect(factory).addCallbacks(opened, refused)


def _ignore() -> None:
    """There is nobody to tell."""
