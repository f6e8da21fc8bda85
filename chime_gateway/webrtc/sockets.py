"""
The seam between a peer and its sockets.

They may serve many peers (a shared port, a listener) or one.  C{Path.local} of
L{chime_gateway.wire.webrtc.candidate} holds the socket at which a path begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from chime_gateway.rtp.ports import Address
from chime_gateway.wire.webrtc.candidate import Candidate, Path

if TYPE_CHECKING:
    from chime_gateway.webrtc.peer import Peer


#: Sends a packet to an address: whether it went out.
Send: TypeAlias = Callable[[bytes, Address], bool]


class Socket(Protocol):
    """
    What packets go out by: C{Path.local}.  A connection of TCP puts them in frames
    (RFC 4571) and has one address only.
    """

    def send(self, data: bytes, address: Address) -> bool:
        """
        It never raises.

        @return: whether it went out; if not it is lost.
        """


def socket_of(path: Path) -> Socket:
    """What it begins at; to ICE it is just something that is the same or another."""
    return cast(Socket, path.local)


class Sockets(Protocol):
    """
    @ivar candidates: where they can be reached, once they are open; for our
        description.
    """

    @property
    def candidates(self) -> Sequence[Candidate]: ...

    def join(self, peer: Peer) -> None:
        """
        What comes for the ufrag in C{peer.local} is the peer's from now on.

        @raise OSError: they cannot be opened.
        """

    def leave(self, peer: Peer) -> None:
        """Forget this peer; an unknown one is ignored."""

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        """
        How the other side's candidate is reached; empty: not from here, or a
        connection is opened first, and told of by C{peer.path_opened}.
        """

    def settle(self, peer: Peer, path: Path) -> Send | None:
        """
        Packets go by this path from now on.

        @return: what sends them there; C{None}: its socket does, as it does for all.
        """
