"""
One UDP port for all peers.

The first check from a new address contains the gateway's ufrag for one peer (RFC 8445
section 7.2.2), and is signed with the gateway's password.  Then the address belongs to
that peer.  Anything else from an unknown address is counted, and leaves no state.

A NAT may assign an address to the next caller before the gateway has noticed that the
previous one is gone; an app that always uses the same port has the same effect.  A
valid check for another peer takes an address over if nothing has come from its owner
for some seconds.

The processes of one gateway share the port.  The newest one reads packets from unknown
addresses.  The others have a connected socket for each address of their peers, to which
the kernel delivers the packets from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from twisted.internet.address import IPv4Address
from twisted.logger import Logger

from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.sockets import Send
from chime_gateway.webrtc.udp import (
    MOST_ADDRESSES,
    Batch,
    RawAddress,
    UdpSocket,
    candidates_at,
)
from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.candidate import Candidate, Path

if TYPE_CHECKING:
    from chime_gateway.webrtc.peer import Peer

#: Maximum number of datagrams read before other sockets get their turn.
_MOST_AT_ONCE: Final = 32

#: A peer that is alive sends something within this time, at least a consent check
#: (RFC 7675 section 5.1).
_LEFT_SECONDS: Final = 7.0


_Flow: TypeAlias = "tuple[Callable[[bytes, Path], None], Path, Peer]"


def _has_no_other(ufrag: str, data: bytes, address: Address) -> bool:
    """Return C{False}, as there are no other processes."""
    return False


class SharedPort:
    """
    One UDP port for all peers.  Implements L{Sockets}.

    @param host: address to bind.
    @param public_hosts: addresses for the candidates.
    @param descriptor: descriptor of the port, inherited from another process; this
        object takes it over.
    @ivar number: the port's number.
    @ivar dropped: number of datagrams that belong to no peer, by reason.
    @ivar strayed: called with an unknown ufrag, the check and its address; returns
        whether it belongs to another process.
    @ivar is_parted: whether another process reads packets from unknown addresses, or is
        about to.
    @raise OSError: the port is taken.
    """

    _log = Logger()

    def __init__(
        self,
        host: str,
        port: int,
        batch: Batch,
        public_hosts: Sequence[str],
        descriptor: int | None = None,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.strayed: Callable[[str, bytes, Address], bool] = _has_no_other
        self.is_parted = False
        self._host = host
        self._batch = batch
        self._is_read = False
        self._parted: dict[RawAddress, UdpSocket] = {}
        self._by_ufrag: dict[str, Peer] = {}
        # By address: the receiver of datagrams, its path, and the peer.  This is the
        # only look-up for a datagram.
        self._flows: dict[RawAddress, _Flow] = {}
        # By address: the peer that claims an address of another peer, and since when.
        self._claims: dict[RawAddress, tuple[Peer, float]] = {}
        self._addresses: dict[Peer, list[RawAddress]] = {}
        self._socket = UdpSocket(
            host, port, self._received, self._broken, _MOST_AT_ONCE, descriptor
        )
        self._socket.enlarge_receive_buffer()
        self.number = self._socket.number
        self.candidates = candidates_at(public_hosts, self.number)
        try:
            self.startReading()
        except BaseException:
            self._socket.close()
            raise

    # -- Twisted's interface of ports, as far as sharing needs it ------------------

    @property
    def connected(self) -> bool:
        return self._socket.connected

    def fileno(self) -> int:
        return self._socket.fileno()

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", self._host, self.number)

    def startReading(self) -> None:
        """Read packets from unknown addresses from now on."""
        if not self._is_read:
            self._batch.adopt(self._socket)
            self._is_read = True

    def stopReading(self) -> None:
        """Another process reads the shared socket from now on."""
        if self._is_read:
            self._is_read = False
            self._batch.release(self._socket)

    def stopListening(self) -> None:
        self.close()

    # -- other processes -----------------------------------------------------------

    def part(self) -> None:
        """
        Open a connected socket for each address of our peers: another process reads
        packets from unknown addresses, or is about to.
        """
        self.is_parted = True
        for address in self._flows:
            self._part(address)

    def unite(self) -> None:
        """This process reads packets from unknown addresses again."""
        self.is_parted = False

    def handed(self, data: bytes, address: Address) -> None:
        """Process a datagram that another process has read."""
        self._received(data, self._socket.raw(*address))

    def _part(self, address: RawAddress) -> None:
        if address in self._parted:
            return
        try:
            descriptor = self._socket.part(self._host, address)
        except OSError:
            self.dropped["not_parted"] += 1
            self._log.failure("a caller's packets may go to another process")
            return
        one = UdpSocket(
            self._host, 0, self._received, self._broken, descriptor=descriptor
        )
        self._parted[address] = one
        self._batch.adopt(one)

    def _forget(self, address: RawAddress) -> None:
        del self._flows[address]
        self._claims.pop(address, None)
        one = self._parted.pop(address, None)
        if one is not None:
            try:
                if one.connected:
                    self._batch.release(one)
            finally:
                one.close()

    # -- Sockets -------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of addresses that belong to a peer."""
        return len(self._flows)

    def join(self, peer: Peer) -> None:
        self._by_ufrag[peer.local.ufrag] = peer
        self._addresses[peer] = []

    def leave(self, peer: Peer) -> None:
        self._by_ufrag.pop(peer.local.ufrag, None)
        for address in self._addresses.pop(peer, ()):
            self._forget(address)
        wanted = [at for at, claim in self._claims.items() if claim[0] is peer]
        for address in wanted:
            del self._claims[address]

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        """Return none: we send no checks first, as answers do not name their peer."""
        return ()

    def settle(self, peer: Peer, path: Path) -> Send | None:
        """Do nothing: there is one socket for all peers."""
        return None

    def close(self) -> None:
        """Close the port: its peers receive nothing more."""
        self.stopReading()
        self._socket.close()

    # -- inside ----------------------------------------------------------------

    def _received(self, data: bytes, address: RawAddress) -> None:
        flow = self._flows.get(address)
        if flow is None:
            self._new(data, address)
        elif data and data[0] <= 3:
            self._checked(data, address, flow)
        else:
            # SRTP shows that the owner is alive; DTLS may be the claimant's.
            if self._claims and data[:1] >= b"\x80":
                self._claims.pop(address, None)
            flow[0](data, flow[1])

    def _checked(self, data: bytes, address: RawAddress, flow: _Flow) -> None:
        """Process a STUN message from an address that belongs to a peer."""
        receive, path, owner = flow
        try:
            message = stun.decode(data)
        except stun.StunError:
            return
        peer = self._by_ufrag.get((message.username or "").partition(":")[0])
        if peer is None or peer is owner:
            if peer is not None and peer.has_signed(message):
                self._claims.pop(address, None)
            receive(data, path)
        elif peer.has_signed(message) and self._is_abandoned(address, peer):
            self._addresses[owner].remove(address)
            self._forget(address)
            self._new(data, address)

    def _is_abandoned(self, address: RawAddress, claimant: Peer) -> bool:
        """Whether the owner has been silent since the claimant's first check."""
        now = claimant.seconds()
        peer, since = self._claims.get(address, (None, 0.0))
        if peer is claimant:
            return now - since >= _LEFT_SECONDS
        self._claims[address] = claimant, now
        self.dropped["claimed"] += 1
        return False

    def _new(self, data: bytes, address: RawAddress) -> None:
        """Process a datagram from an unknown address."""
        if not data or data[0] > 3:
            self.dropped["stranger"] += 1
            return
        try:
            username = stun.decode(data).username or ""
        except stun.StunError:
            self.dropped["stun"] += 1
            return
        ufrag = username.partition(":")[0]
        peer = self._by_ufrag.get(ufrag)
        path = self._socket.path(address)
        if peer is None:
            if not self.strayed(ufrag, data, (path.host, path.port)):
                self.dropped["ufrag"] += 1
            return
        peer.received(data, path)
        if not peer.knows(path):
            self.dropped["integrity"] += 1
            return
        addresses = self._addresses[peer]
        if len(addresses) >= MOST_ADDRESSES:
            self._forget(self._remove_oldest(peer, addresses))
        addresses.append(address)
        self._flows[address] = peer.received, path, peer
        if self.is_parted:
            self._part(address)

    def _remove_oldest(self, peer: Peer, addresses: list[RawAddress]) -> RawAddress:
        """Remove and return the oldest address that is not in use for sending."""
        at = 0 if self._flows[addresses[0]][1] != peer.path else 1
        return addresses.pop(at)

    def _broken(self) -> None:
        """A bug in this class; those in a peer's code are caught there."""
        self._log.critical("a bug closed the shared port of WebRTC")
