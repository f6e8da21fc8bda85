"""The listening sockets of SIP, and its outbound connections (RFC 3261 section 18)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.carriers.sip.access import Access
from chime_gateway.carriers.sip.transport.connections import (
    ClientFactory,
    Connection,
    Datagrams,
    Flow,
    Receiver,
    ServerFactory,
    Streams,
)
from chime_gateway.carriers.sip.transport.tls import client_tls, server_tls
from chime_gateway.carriers.sip.transport.turns import DatagramReading
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.certificates import Certificate
from chime_gateway.net.system.own_address import local_address_to
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.values import SipSettings
from chime_gateway.wire.sip.dialog import Hop
from chime_gateway.wire.sip.message import Source

_CONNECT_SECONDS: Final = 10.0

#: The pause before the UDP port is opened again after it was lost.
REOPEN_SECONDS: Final = 0.25


class SipTransports:
    """
    All listeners, and the sending of messages.

    @ivar ports: each listener with its port, once started.
    @ivar certificates: the certificates of the TLS listeners.
    @ivar streams: all connections.
    """

    _log = Logger()

    def __init__(
        self, settings: SipSettings, receiver: Receiver, access: Access, reactor: Any
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._access = access
        self._receiver = receiver
        self.streams = Streams(receiver, access, reactor)
        self._datagrams: Datagrams | None = None
        self._is_stopped = False
        self.ports: list[tuple[Listener, IListeningPort]] = []
        self.certificates: list[Certificate] = []
        self._numbers: dict[Listener, int] = {}

    # -- life ------------------------------------------------------------------

    def start(self) -> None:
        """
        Open the ports.

        @raise ConfigError: a port or a certificate cannot be used.
        """
        for listener in self._settings.listen:
            name = f"{listener.transport}:{listener.port}"
            try:
                port = self._listen(listener, listener.port)
            except (CannotListenError, OSError, ValueError) as exc:
                raise ConfigError(f"CHIMEGW_SIP_LISTEN {name}: {exc}") from exc
            self.ports.append((listener, port))
            self._numbers[listener] = port.getHost().port  # type: ignore[attr-defined]

    def _lost(self) -> None:
        """Twisted closes a UDP port when reading it fails, even for lack of memory."""
        if not self._is_stopped:
            self._log.error("the SIP UDP port was lost: opening it again")
            self._reactor.callLater(REOPEN_SECONDS, self._reopen)

    def _reopen(self) -> None:
        if self._is_stopped:
            return
        for at, (listener, _) in enumerate(self.ports):
            if listener.transport == "udp":
                try:
                    port = self._listen(listener, self._numbers[listener])
                except (CannotListenError, OSError, MemoryError):
                    self._reactor.callLater(REOPEN_SECONDS, self._reopen)
                else:
                    self.ports[at] = (listener, port)

    def _listen(self, listener: Listener, number: int) -> IListeningPort:
        reactor = self._reactor
        interface = listener.interface
        port: IListeningPort
        if listener.transport == "udp":
            self._datagrams = Datagrams(
                self._receiver, self._access, self._lost, is_ipv6=":" in interface
            )
            udp: Any = reactor.listenUDP(
                number, self._datagrams, interface=interface, maxPacketSize=65535
            )
            udp.doRead = DatagramReading(udp, reactor)
            return udp  # type: ignore[no-any-return]
        tls = self._new_certificate(listener) if listener.transport == "tls" else None
        factory = ServerFactory(listener.transport, self.streams, tls)
        port = reactor.listenTCP(number, factory, interface=interface)
        return port

    def _new_certificate(self, listener: Listener) -> Certificate:
        certificate = Certificate(
            f"CHIMEGW_SIP_LISTEN tls:{listener.port}",
            lambda: (self._settings.certificate, self._settings.private_key),
            lambda: server_tls(self._settings),
        )
        self.certificates.append(certificate)
        return certificate

    def change(self, settings: SipSettings) -> None:
        """Change the allowed networks and the certificate.  Listeners stay the same."""
        self._settings = settings
        self._access.change(settings.allow)

    def stop(self) -> list[Any]:
        """Close everything.  Deferreds among the results have to be waited for."""
        self._is_stopped = True
        waiting = [port.stopListening() for _, port in self.ports]
        self.ports.clear()
        for connection in list(self.streams.connections):
            connection.close()
        return waiting

    # -- addresses -------------------------------------------------------------

    def has(self, transport: str) -> bool:
        return any(listener.transport == transport for listener, _ in self.ports)

    def address(self, transport: str, remote_host: str) -> tuple[str, int]:
        """Return the address at which a peer reaches the gateway (Via, Contact)."""
        for listener, number in self._numbers.items():
            if listener.transport == transport:
                return self.host(remote_host, listener.interface), number
        return self.host(remote_host), 5060

    def host(self, remote_host: str, interface: str = "") -> str:
        """Return the gateway's address for a peer, of the same address family."""
        for address in (self._settings.public_address, interface):
            is_one = address and address not in ("0.0.0.0", "::")
            if is_one and (":" in address) == (":" in remote_host):
                return address.partition("%")[0]
        return local_address_to(remote_host)

    def reaches(self, transport: str, host: str) -> bool:
        """Return whether C{transport} reaches the address family of C{host}."""
        if transport != "udp":
            return True  # a new connection can have any family
        interfaces = [one.interface for one, _ in self.ports if one.transport == "udp"]
        return any(
            interface == "::" or (":" in interface) == (":" in host)
            for interface in interfaces
        )

    @property
    def connection_count(self) -> int:
        return len(self.streams.connections)

    # -- sending ---------------------------------------------------------------

    def reply(self, data: bytes, flow: Flow, via_port: int) -> None:
        """
        Send a response by the flow of its request.

        @param via_port: the port in the topmost Via.  If the connection is closed, a
            new one is made to this port (RFC 3261 section 18.2.2).
        """
        if flow.connection is None or flow.connection.is_open:
            self.send(data, flow)
        else:
            source = flow.source
            self.connect(data, Hop(source.host, via_port, flow.transport), _ignore)

    def send_datagram(self, data: bytes, hop: Hop) -> None:
        """Send a datagram to an address, not a name."""
        self.send(data, Flow("udp", Source(hop.host, hop.port)))

    def send(self, data: bytes, flow: Flow) -> bool:
        """Send by a flow; return whether the flow still exists."""
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
        """Send to C{hop} over TCP or TLS, by an open connection or a new one."""
        found = self.streams.to(hop.transport, hop.host, hop.port)
        if found is not None:
            found.send(data)
            return
        if self._is_stopped:
            return

        def opened(connection: Connection) -> None:
            connection.send(data)

        def refused(failure: Failure) -> None:
            self._log.warn(
                "no SIP connection to {host}:{port}: {why}",
                host=hop.host,
                port=hop.port,
                why=failure.getErrorMessage(),
            )
            # Never during this call: the caller is not prepared for it.
            self._reactor.callLater(0, failed)

        maybeDeferred(self._open, hop, tls_name).addCallbacks(opened, refused)

    def _open(self, hop: Hop, tls_name: str) -> Any:
        """Open a connection.  An invalid host name raises at once."""
        endpoint: Any = HostnameEndpoint(
            self._reactor, hop.host, hop.port, timeout=_CONNECT_SECONDS
        )
        if hop.transport == "tls":
            endpoint = wrapClientTLS(client_tls(tls_name or hop.host), endpoint)
        return endpoint.connect(ClientFactory(hop.transport, self.streams))


def _ignore() -> None:
    """Does nothing if sending a response fails."""
