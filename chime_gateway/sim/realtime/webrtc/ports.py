"""
One UDP port and one TCP port for the media of all calls.

Datagrams are assigned to calls by their source address.  A check names its call by the
user fragment, and assigns its source address to that call.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet import protocol
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.python.failure import Failure

from chime_gateway.sim.realtime.webrtc.ice import Path
from chime_gateway.sim.realtime.webrtc.stun import BindingRequest, read_request

HOST: Final = "127.0.0.1"


class MediaPeer(Protocol):
    """The side of a call that handles datagrams."""

    ufrag: str
    udp_is_blocked: bool

    def checked(
        self, request: BindingRequest, path: Path, address: tuple[str, int]
    ) -> bytes | None:
        """Return the response to a check; C{None}: none, and ignore the path."""

    def answered(self) -> None:
        """The response to a check was sent."""

    def received(self, data: bytes) -> None:
        """Handle a datagram with DTLS, RTP or RTCP."""


class Ports(DatagramProtocol):
    """
    The UDP port, and the connections of the TCP port.

    @ivar calls: the calls by user fragment.
    """

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.calls: dict[str, MediaPeer] = {}
        self._by_path: dict[Path, MediaPeer] = {}
        self._listening: list[Any] = []

    @property
    def numbers(self) -> tuple[int, int]:
        """The numbers of the UDP and the TCP port, which are opened at first use."""
        if not self._listening:
            udp = self._reactor.listenUDP(0, self, interface=HOST, maxPacketSize=65535)
            tcp = self._reactor.listenTCP(0, _TcpFactory(self), interface=HOST)
            self._listening = [udp, tcp]
        udp_port, tcp_port = (port.getHost().port for port in self._listening)
        return udp_port, tcp_port

    def close(self) -> None:
        listening, self._listening = self._listening, []
        for port in listening:
            port.stopListening()

    def add(self, call: MediaPeer) -> None:
        self.calls[call.ufrag] = call

    def forget(self, call: MediaPeer, paths: set[Path]) -> None:
        self.calls.pop(call.ufrag, None)
        for path in paths:
            self._by_path.pop(path, None)

    def send(self, data: bytes, path: Path) -> None:
        if isinstance(path, TcpPath):
            path.send(data)
        elif self.transport is not None and isinstance(path, tuple):
            self.transport.write(data, path)

    # -- received data -------------------------------------------------------------

    def datagramReceived(self, data: bytes, address: Any) -> None:
        self.arrived(data, address, address)

    def arrived(self, data: bytes, path: Path, address: tuple[str, int]) -> None:
        # The first byte tells the protocol (RFC 7983 section 7).
        if data and data[0] < 4:
            self._check(data, path, address)
            return
        call = self._by_path.get(path)
        if call is not None and not self._is_blocked(call, path):
            call.received(data)

    def _check(self, data: bytes, path: Path, address: tuple[str, int]) -> None:
        request = read_request(data)
        if request is None:
            return
        call = self.calls.get(request.username.partition(":")[0])
        if call is None:
            return
        if self._is_blocked(call, path):
            return
        answer = call.checked(request, path, address)
        if answer is not None:
            self._by_path[path] = call
            self.send(answer, path)
            call.answered()

    def _is_blocked(self, call: MediaPeer, path: Path) -> bool:
        """Return whether a path is blocked; a test may block UDP during a call."""
        return call.udp_is_blocked and not isinstance(path, TcpPath)


class TcpPath(protocol.Protocol):
    """Datagrams over a TCP connection, each preceded by its length (RFC 4571)."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._data = bytearray()
        self._address = ("0.0.0.0", 0)

    def connectionMade(self) -> None:
        assert self.transport is not None
        peer: Any = self.transport.getPeer()
        self._address = (peer.host, peer.port)
        transport: Any = self.transport
        transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 2:
            end = 2 + int.from_bytes(self._data[:2])
            if len(self._data) < end:
                break
            datagram = bytes(self._data[2:end])
            del self._data[:end]
            self._ports.arrived(datagram, self, self._address)

    def send(self, data: bytes) -> None:
        if self.transport is not None and self.connected:
            self.transport.write(len(data).to_bytes(2) + data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._data.clear()


class _TcpFactory(protocol.Factory):
    noisy = False

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def buildProtocol(self, addr: object) -> TcpPath:
        return TcpPath(self._ports)
