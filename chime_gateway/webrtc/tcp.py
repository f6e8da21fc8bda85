"""Peers over TCP (RFC 6544), a frame a datagram (RFC 4571)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory

from chime_gateway.rtp.ports import Address
from chime_gateway.wire.webrtc.candidate import Candidate, Path

if TYPE_CHECKING:
    from chime_gateway.net.strangers.connections import Connections
    from chime_gateway.webrtc.peer import Peer


class PassiveTcp(Factory):
    """
    Connections that come in, of all peers; L{Sockets}, to be listened with.

    @param public: hosts and ports to be told (of candidates).
    @param strangers: those that have not proved yet whose they are.
    """

    candidates: Sequence[Candidate]

    def __init__(
        self, clock: IReactorTime, public: Sequence[Address], strangers: Connections
    ) -> None:
        raise NotImplementedError

    def join(self, peer: Peer) -> None:
        raise NotImplementedError

    def leave(self, peer: Peer) -> None:
        raise NotImplementedError

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        raise NotImplementedError


class ActiveTcp:
    """Connections that one peer opens to passive candidates; L{Sockets}."""

    candidates: Sequence[Candidate]

    def __init__(self, reactor: Any) -> None:
        raise NotImplementedError

    def join(self, peer: Peer) -> None:
        raise NotImplementedError

    def leave(self, peer: Peer) -> None:
        raise NotImplementedError

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        raise NotImplementedError
