"""UDP sockets of peers: one port for all of them, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chime_gateway.rtp.ports import Address, Batch
from chime_gateway.wire.webrtc.candidate import Candidate, Path

if TYPE_CHECKING:
    from chime_gateway.webrtc.peer import Peer


class SharedPort:
    """
    One UDP port for all peers; L{Sockets}.

    @param host: address to bind; C{public_hosts}: those to be told (of candidates).
    @ivar number: of the port.
    @raise OSError: it is somebody else's.
    """

    candidates: Sequence[Candidate]
    number: int

    def __init__(
        self, host: str, port: int, batch: Batch | None, public_hosts: Sequence[str]
    ) -> None:
        raise NotImplementedError

    def join(self, peer: Peer) -> None:
        raise NotImplementedError

    def leave(self, peer: Peer) -> None:
        raise NotImplementedError

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class OwnPort:
    """
    A port for one peer; L{Sockets}.  Opened by L{join}, closed by L{leave}.

    @param numbers: of ports that may be taken; empty: any that is free.
    """

    candidates: Sequence[Candidate]
    number: int

    def __init__(
        self,
        host: str,
        batch: Batch | None,
        public_hosts: Sequence[str],
        numbers: Sequence[int] = (),
    ) -> None:
        raise NotImplementedError

    def send(self, data: bytes, address: Address) -> None:
        raise NotImplementedError

    def join(self, peer: Peer) -> None:
        raise NotImplementedError

    def leave(self, peer: Peer) -> None:
        raise NotImplementedError

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        raise NotImplementedError
