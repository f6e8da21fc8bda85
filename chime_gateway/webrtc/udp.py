"""
The UDP sockets of peers, as the batch reads them, and one that belongs to a single
peer.

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

#: An address as the operating system has it: of IPv6 there is more than two.
RawAddress: TypeAlias = Any

_MAX_DATAGRAM: Final = 2048

#: What waits in the kernel for a port of all peers: in a stall of 0.2 s, 200 callers
#: send 2,000 packets, and one needs 768 bytes there.
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024

#: Addresses of one peer's: a NAT that forgets makes new ones, each with a check that
#: only the other side can have signed.
MOST_ADDRESSES: Final = 8

#: Ports that another program has may be met; so many are passed over.
_MAX_TRIES: Final = 50


class Batch(Protocol):
    """Who reads the sockets; see L{chime_gateway.net.batch}."""

    def adopt(self, connection: MediaSocket) -> None: ...
    def release(self, connection: MediaSocket) -> None: ...


class UdpSocket:
    """
    One socket, as the batch reads it.

    @param received: gets what comes, and the address as the system has it.
    @param at_once: datagrams that are read before others get their turn.
    @param descriptor: of an open socket that is taken over; C{None}: a new one is
        opened.
    @ivar number: of the port.
    @ivar broken: called when whoever receives has failed and it is closed.
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
        self._takes_both = host == DUAL_STACK
        self.number: int = self._socket.getsockname()[1]

    def beside(
        self,
        path: Path,
        received: Callable[[bytes, Path], None],
        broken: Callable[[], None],
    ) -> SettledSocket[Path]:
        """
        A socket on this port for what goes and comes by one path.

        @raise OSError: there is none to be had.
        """
        raw = self.raw(path.host, path.port)
        return SettledSocket(self._socket, path, raw[:2], received, broken)

    def keep_much(self) -> None:
        """What comes while nobody reads is for many."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        receive, received = self._socket.recvfrom, self._received
        try:
            for _ in self._at_once:
                received(*receive(_MAX_DATAGRAM))
        except (OSError, MemoryError):
            # Nothing more is there, or an ICMP error of an earlier send; without
            # memory one is lost, and not the socket of all.
            return

    def part(self, host: str, address: RawAddress) -> int:
        """
        Another socket on this port, for what comes from one address: the kernel puts
        that there from now on, also where another process reads this one.

        @param host: the address that this socket is bound to.
        @return: its descriptor.
        @raise OSError: it cannot be opened.
        """
        # For this moment only: nobody else can have the port while one of its sockets
        # does not share it.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            with socket.socket(self._socket.family, socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                if self._takes_both:
                    other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind((host, self.number))
                other.connect(address)
                return other.detach()
        finally:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def raw(self, host: str, port: int) -> RawAddress:
        """An address as the system would have it."""
        return (mapped(host), port, 0, 0) if self._is_ipv6 else (host, port)

    def send(self, data: bytes, address: Address) -> bool:
        try:
            if self._is_ipv6:
                address = mapped(address[0]), address[1]
            self._socket.sendto(data, address)
        except Exception:
            # Full, unreachable or no address: lost, as on the network.
            return False
        return True

    def path(self, address: RawAddress) -> Path:
        """The one that something came on."""
        host: str = canonical(address[0]) if self._is_ipv6 else address[0]
        return Path(self, host, address[1])

    def reaches(self, candidate: Candidate) -> bool:
        """Whether packets can go there."""
        is_ipv6 = ":" in candidate.host
        return candidate.transport == "udp" and (
            self._takes_both or is_ipv6 == self._is_ipv6
        )

    def connectionLost(self, reason: Failure) -> None:
        """Whoever received has failed, and the batch has let it go."""
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
    A port for one peer; L{Sockets}.  Opened by L{join}, closed by L{leave}.

    @param numbers: of ports that may be taken; empty: any that is free.
    @param first_try: where in them to begin.
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
        """Of the port; 0: it is not open."""
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
        self._let_go()
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
        """The path has a socket of its own, if one is to be had (decision 0052)."""
        before = self._settled
        if before is not None and before.place == path and before.connected:
            return before.send_to
        self._let_go()
        one = self._socket
        if one is None or path.local is not one:
            return None
        try:
            settled = one.beside(path, peer.received, peer.broken)
        except Exception:
            return None  # descriptors are short, or it is no address
        try:
            self._batch.adopt(settled)
        except Exception:
            settled.close()
            return None
        self._settled = settled
        return settled.send_to

    # -- inside ----------------------------------------------------------------

    def _let_go(self) -> None:
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
        """A bug of ours: the peer's own it catches itself."""
        if self._peer is not None:
            self._peer.broken()
