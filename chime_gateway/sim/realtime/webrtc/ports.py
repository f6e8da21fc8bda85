"""
One UDP port and one TCP port for the media of all calls.

A datagram belongs to the call of its address; an address belongs to the call whose
check came from it, and a check names its call by the user fragment.
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
    """A call, as far as its datagrams go."""

    ufrag: str
    udp_is_blocked: bool

    def checked(
        self, request: BindingRequest, path: Path, address: tuple[str, int]
    ) -> bytes | None:
        """The answer; C{None}: no answer is due, and the path is not this call's."""

    def answered(self) -> None:
        """It was sent."""

    def received(self, data: bytes) -> None:
        """DTLS, RTP or RTCP."""


class Ports(DatagramProtocol):
    """
    @ivar calls: by their user fragment.
    """

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.calls: dict[str, MediaPeer] = {}
        self._by_path: dict[Path, MediaPeer] = {}
        self._listening: list[Any] = []

    @property
    def numbers(self) -> tuple[int, int]:
        """Of UDP and of TCP; they are opened when they are first asked for."""
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

    # -- what comes ----------------------------------------------------------------

    def datagramReceived(self, data: bytes, address: Any) -> None:
        self.arrived(data, address, address)

    def arrived(self, data: bytes, path: Path, address: tuple[str, int]) -> None:
        # The first byte says what it is (RFC 7983 section 7).
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
        """Also in the middle of it."""
        return call.udp_is_blocked and not isinstance(path, TcpPath)


class TcpPath(protocol.Protocol):
    """Datagrams over a connection, each behind its length (RFC 4571)."""

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

    def buildProtocol(self, addr: Any) -> TcpPath:
        return TcpPath(self._ports)
