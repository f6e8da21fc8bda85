"""
UDP sockets of peers, which a batch reads, and the port of a single peer.

L{chime_gateway.webrtc.shared_port} assigns the packets of a shared port to peers.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from twisted.python.failure import Failure

from chime_gateway.net.batch import MediaSocket
from chime_gateway.rtp.ports import DUAL_STACK, Address, bound
from chime_gateway.rtp.settled import SettledSocket
from chime_gateway.webrtc.sockets import Send
from chime_gateway.wire.address import canonical, mapped
from chime_gateway.wire.webrtc.candidate import Candidate, Path, priority

if TYPE_CHECKING:
    from chime_gateway.webrtc.peer import Peer

#: An address in the operating system's form: those of IPv6 have four members.
RawAddress: TypeAlias = Any

_MAX_DATAGRAM: Final = 2048

#: Size of the kernel's receive buffer for a port of all peers: during a stall of 0.2 s,
#: 200 callers send 2,000 packets, and each takes 768 bytes there.
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024

#: Maximum number of a peer's addresses.  New ones appear when a NAT loses its state;
#: each needs a check that only the peer can have signed.
MOST_ADDRESSES: Final = 8

#: Maximum number of ports to try, as other programs may use some of them.
_MAX_TRIES: Final = 50


class Batch(Protocol):
    """The reader of the sockets; see L{chime_gateway.net.batch}."""

    def adopt(self, connection: MediaSocket) -> None: ...
    def release(self, connection: MediaSocket) -> None: ...


class UdpSocket:
    """
    One socket, which a batch reads.

    @param received: called with each datagram, and its address in the system's form.
    @param broken: called when the receiver has failed, and the socket is closed.
    @param at_once: maximum number of datagrams read before other sockets get their
        turn.
    @param descriptor: descriptor of an open socket, which is taken over; C{None}: a new
        socket is opened.
    @ivar number: the port's number.
    @raise OSError: the port is taken.
    """

    connected = True
    disconnecting = False

    def __init__(
        self,
        host: str,
        port: int,
        received: Callable[[bytes, RawAddress], None],
        broken: Callable[[], None],
        at_once: int = 1,
        descriptor: int | None = None,
    ) -> None:
        self._socket = (
            bound(host, port)
            if descriptor is None
            else socket.socket(fileno=descriptor)
        )
        self._received = received
        self._broken = broken
        self._at_once = range(at_once)
        self._is_ipv6 = ":" in host
        self._is_dual_stack = host == DUAL_STACK
        self.number: int = self._socket.getsockname()[1]

    def open_settled(
        self,
        path: Path,
        received: Callable[[bytes, Path], None],
        broken: Callable[[], None],
    ) -> SettledSocket[Path]:
        """
        Open a connected socket on this port for one path.

        @raise OSError: it cannot be opened.
        """
        raw = self.raw(path.host, path.port)
        return SettledSocket(self._socket, path, raw[:2], received, broken)

    def enlarge_receive_buffer(self) -> None:
        """Make room for the packets of many peers while the process does not read."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        receive, received = self._socket.recvfrom, self._received
        try:
            for _ in self._at_once:
                received(*receive(_MAX_DATAGRAM))
        except (OSError, MemoryError):
            # No more data, or an ICMP error of an earlier send.  Out of memory, one
            # datagram is lost, and not the socket.
            return

    def part(self, host: str, address: RawAddress) -> int:
        """
        Open another socket on this port for one remote address.  The kernel delivers
        packets from there to it from now on, even if another process reads this one.

        @param host: the address that this socket is bound to.
        @return: the new socket's descriptor.
        @raise OSError: it cannot be opened.
        """
        # Only for this moment: afterwards no other program can bind the port.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            with socket.socket(self._socket.family, socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                if self._is_dual_stack:
                    other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind((host, self.number))
                other.connect(address)
                return other.detach()
        finally:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def raw(self, host: str, port: int) -> RawAddress:
        """Return an address in the system's form."""
        return (mapped(host), port, 0, 0) if self._is_ipv6 else (host, port)

    def send(self, data: bytes, address: Address) -> bool:
        try:
            if self._is_ipv6:
                address = mapped(address[0]), address[1]
            self._socket.sendto(data, address)
        except Exception:
            # Buffer full, unreachable, or not an address: lost, as on the network.
            return False
        return True

    def path(self, address: RawAddress) -> Path:
        """Return the path to a remote address."""
        host: str = canonical(address[0]) if self._is_ipv6 else address[0]
        return Path(self, host, address[1])

    def reaches(self, candidate: Candidate) -> bool:
        """Whether this socket can send to a candidate."""
        is_ipv6 = ":" in candidate.host
        return candidate.transport == "udp" and (
            self._is_dual_stack or is_ipv6 == self._is_ipv6
        )

    def connectionLost(self, reason: Failure) -> None:
        """The receiver has failed, and the batch no longer reads this socket."""
        self.close()
        self._broken()

    def close(self) -> None:
        self.connected = False
        self._socket.close()


def candidates_at(hosts: Sequence[str], number: int) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(host, number, priority("host", 65535 - at), str(at + 1))
        for at, host in enumerate(hosts)
    )


class OwnPort:
    """
    A port for one peer; L{join} opens it, and L{leave} closes it.  Implements
    L{Sockets}.

    @param numbers: the port numbers that may be used; empty: any free port.
    @param first_try: index of the first one to try.
    """

    def __init__(
        self,
        host: str,
        batch: Batch,
        public_hosts: Sequence[str],
        numbers: Sequence[int] = (),
        first_try: int = 0,
    ) -> None:
        self.candidates: Sequence[Candidate] = ()
        self._host = host
        self._batch = batch
        self._public_hosts = public_hosts
        self._numbers = numbers
        self._first_try = first_try
        self._peer: Peer | None = None
        self._socket: UdpSocket | None = None
        self._paths: dict[RawAddress, Path] = {}
        self._settled: SettledSocket[Path] | None = None

    @property
    def number(self) -> int:
        """The port's number; 0: it is not open."""
        return 0 if self._socket is None else self._socket.number

    def join(self, peer: Peer) -> None:
        self._peer = peer
        one = self._socket = self._open()
        try:
            self._batch.adopt(one)
        except BaseException:
            one.close()
            raise
        self.candidates = candidates_at(self._public_hosts, one.number)

    def leave(self, peer: Peer) -> None:
        self._close_settled()
        one, self._socket = self._socket, None
        self._peer = None
        self._paths.clear()
        if one is not None:
            try:
                if one.connected:
                    self._batch.release(one)
            finally:
                one.close()

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        one = self._socket
        if one is None or not one.reaches(candidate):
            return ()
        return (Path(one, candidate.host, candidate.port),)

    def settle(self, peer: Peer, path: Path) -> Send | None:
        """Open a connected socket for the path, if possible (decision 0052)."""
        before = self._settled
        if before is not None and before.place == path and before.connected:
            return before.send_to
        self._close_settled()
        one = self._socket
        if one is None or path.local is not one:
            return None
        try:
            settled = one.open_settled(path, peer.received, peer.broken)
        except Exception:
            return None  # no descriptor is free, or it is not an address
        try:
            self._batch.adopt(settled)
        except Exception:
            settled.close()
            return None
        self._settled = settled
        return settled.send_to

    # -- inside ----------------------------------------------------------------

    def _close_settled(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            try:
                if settled.connected:
                    self._batch.release(settled)
            finally:
                settled.close()

    def _open(self) -> UdpSocket:
        count = len(self._numbers)
        if not count:
            return UdpSocket(self._host, 0, self._received, self._lost)
        for at in range(min(count, _MAX_TRIES)):
            number = self._numbers[(self._first_try + at) % count]
            try:
                return UdpSocket(self._host, number, self._received, self._lost)
            except OSError as exc:
                failed = exc
        raise failed

    def _received(self, data: bytes, address: RawAddress) -> None:
        peer = self._peer
        if peer is None:
            return
        path = self._paths.get(address)
        if path is not None:
            peer.received(data, path)
            return
        assert self._socket is not None
        path = self._socket.path(address)
        peer.received(data, path)
        if peer.knows(path):
            if len(self._paths) >= MOST_ADDRESSES:
                self._paths.clear()
            self._paths[address] = path

    def _lost(self) -> None:
        """A bug in this class; those in the peer's code are caught there."""
        if self._peer is not None:
            self._peer.broken()
