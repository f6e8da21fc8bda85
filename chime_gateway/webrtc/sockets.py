"""
The interface between a peer and its sockets, which serve one peer or many (a shared
port, a listener).

C{Path.local} of L{chime_gateway.wire.webrtc.candidate} is the local socket of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from chime_gateway.rtp.ports import Address
from chime_gateway.wire.webrtc.candidate import Candidate, Path

if TYPE_CHECKING:
    from chime_gateway.webrtc.peer import Peer


#: Sends a packet to an address; returns whether it was sent.
Send: TypeAlias = Callable[[bytes, Address], bool]


class Socket(Protocol):
    """
    The sending side of a socket: C{Path.local}.  A TCP connection puts packets into
    frames (RFC 4571), and has a single address.
    """

    def send(self, data: bytes, address: Address) -> bool:
        """
        Send a packet; never raises.

        @return: whether it was sent; otherwise it is lost.
        """


def socket_of(path: Path) -> Socket:
    """Return the local socket of a path; ICE only compares it with others."""
    return cast(Socket, path.local)


class Sockets(Protocol):
    """
    Sockets for peers.

    @ivar candidates: the candidates for our description, once the sockets are open.
    """

    @property
    def candidates(self) -> Sequence[Candidate]: ...

    def join(self, peer: Peer) -> None:
        """
        Deliver packets for the ufrag in C{peer.local} to this peer from now on.

        @raise OSError: they cannot be opened.
        """

    def leave(self, peer: Peer) -> None:
        """Forget this peer; an unknown one is ignored."""

    def paths_to(self, peer: Peer, candidate: Candidate) -> Sequence[Path]:
        """
        Return the paths to the peer's candidate.  Empty: it cannot be reached from
        here, or a connection is opened first, and reported to C{peer.path_opened}.
        """

    def settle(self, peer: Peer, path: Path) -> Send | None:
        """
        Use this path for the peer's packets from now on.

        @return: the function that sends them; C{None}: that of the path's socket.
        """
