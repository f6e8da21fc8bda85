"""WebRTC peers over a network in memory that loses, repeats and reorders datagrams."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from chime_gateway.audio import PCMU
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.stream import RtpStream
from chime_gateway.rtp.terms import Terms
from chime_gateway.webrtc.certificate import process_certificate
from chime_gateway.webrtc.peer import REMOTE, Peer, PeerFailure
from chime_gateway.webrtc.sockets import Sockets
from chime_gateway.wire.webrtc.candidate import Candidate, Path, priority

Datagram = tuple[Address, Address, bytes]


class Network:
    """
    The network.

    @param loss: the share of lost datagrams; C{repeated}: of duplicated ones.
    @param spread: seconds that one may take longer than another.
    @ivar sent: source, destination and content of datagrams.
    @ivar passes: whether a datagram passes; for faults that are not random.
    """

    def __init__(
        self,
        clock: Clock,
        seed: int = 0,
        loss: float = 0.0,
        repeated: float = 0.0,
        spread: float = 0.0,
    ) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.loss, self.repeated, self.spread = loss, repeated, spread
        self.sockets: dict[Address, NetworkSockets] = {}
        self.sent: list[Datagram] = []
        self.passes: Callable[[Datagram], bool] = lambda datagram: True

    def sends(self, source: Address, target: Address, data: bytes) -> None:
        datagram = source, target, data
        self.sent.append(datagram)
        if not self.passes(datagram):
            return
        for _ in range(1 + (self.random.random() < self.repeated)):
            if self.random.random() >= self.loss:
                delay = 0.01 + self.random.random() * self.spread
                self.clock.callLater(delay, self.arrives, source, target, data)

    def arrives(self, source: Address, target: Address, data: bytes) -> None:
        there = self.sockets.get(target)
        if there is not None and there.peer is not None:
            there.peer.received(data, Path(there, *source))


class NetworkSockets:
    """
    One port of one peer: L{chime_gateway.webrtc.sockets.Sockets}, and a socket.

    @ivar is_full: sent datagrams are lost before they reach the network.
    """

    def __init__(self, network: Network, address: Address) -> None:
        self.network = network
        self.address = address
        self.peer: Peer | None = None
        self.candidates: Sequence[Candidate] = (Candidate(*address, priority("host")),)
        self.is_full = False

    def join(self, peer: Peer) -> None:
        self.peer = peer
        self.network.sockets[self.address] = self

    def leave(self, peer: Peer) -> None:
        self.peer = None
        self.network.sockets.pop(self.address, None)

    def settle(self, peer: Peer, path: Path) -> None:
        """Do nothing: all datagrams use the same path."""

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        return (Path(self, candidate.host, candidate.port),)

    def send(self, data: bytes, address: Address) -> bool:
        if not self.is_full:
            self.network.sends(self.address, address, data)
        return not self.is_full


@define(eq=False)
class RtcUser:
    """
    The owner of a call: its peer, its stream, and what was reported.

    @ivar told: C{connected} and kinds of failures, in order.
    @ivar on_told: called with each.
    """

    peer: Peer = field(init=False)
    stream: RtpStream = field(init=False)
    network: Network = field(init=False)
    sockets: NetworkSockets = field(init=False)
    told: list[str | PeerFailure] = field(factory=list)
    reasons: list[str] = field(factory=list)
    heard: bytearray = field(factory=bytearray)
    keys: SrtpKeys | None = None
    on_told: Callable[[], None] = lambda: None

    def peer_connected(self, keys: SrtpKeys) -> None:
        self.told.append("connected")
        self.keys = keys
        self.stream.agree(terms(keys))
        self.on_told()

    def peer_failed(self, reason: str, kind: PeerFailure) -> None:
        self.told.append(kind)
        self.reasons.append(reason)
        self.on_told()

    def caller_audio(self, audio: bytes) -> None:
        self.heard += audio

    def digit_pressed(self, digit: str) -> None: ...


def terms(keys: SrtpKeys) -> Terms:
    """Return terms with PCMU and these keys."""
    return Terms(
        codec=PCMU,
        payload_type=0,
        telephone_event=None,
        comfort_noise=frozenset(),
        ptime_ms=20,
        remote=REMOTE,
        remote_rtcp=REMOTE,
        keys=keys,
    )


def new_user(
    network: Network, host: str, *, is_offerer: bool, is_lite: bool = False
) -> RtcUser:
    """Make a user on a network in memory, with a started peer."""
    user = RtcUser()
    user.network = network
    user.sockets = NetworkSockets(network, (host, 40000))
    give_peer(
        user,
        [user.sockets],
        network.clock,
        network.random,
        is_offerer=is_offerer,
        is_lite=is_lite,
    )
    return user


def give_peer(
    user: RtcUser,
    sockets: Sequence[Sockets],
    clock: IReactorTime,
    draw: random.Random,
    *,
    is_offerer: bool,
    is_lite: bool = False,
) -> None:
    """Give a user a started peer and a stream."""
    user.stream = RtpStream(
        PCMU,
        user,
        is_allowed=lambda host: True,
        clock=clock.seconds,
        wall_time=clock.seconds,
        random32=lambda: draw.getrandbits(32),
        cname="test",
        gap_filled=lambda audio: None,
    )
    user.peer = Peer(
        user,
        sockets=sockets,
        certificate=process_certificate(),
        clock=clock,
        rtp_received=user.stream.rtp_received,
        is_offerer=is_offerer,
        is_lite=is_lite,
        dropped=user.stream.stats.dropped,
        random_bytes=draw.randbytes,
    )
    user.stream.attach(user.peer.send, user.peer.send)
    user.peer.start()


def run(clock: Clock, seconds: float, users: Sequence[RtcUser] = ()) -> None:
    """Let time pass; each user sends a packet every 20 ms."""
    until = clock.seconds() + seconds
    while clock.seconds() < until:
        clock.advance(0.02)
        for user in users:
            if user.keys is not None:
                user.stream.tick(clock.seconds(), 1)
