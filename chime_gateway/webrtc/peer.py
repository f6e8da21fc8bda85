"""
One call's other side: found by ICE, its keys agreed on by DTLS, its media passed on.

It knows no sockets, no signalling and nothing of what is in a packet of RTP.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime

from chime_gateway.rtp.ports import Address, Received
from chime_gateway.rtp.srtp import SrtpKeys
from chime_gateway.webrtc.certificate import Certificate
from chime_gateway.webrtc.sockets import Sockets
from chime_gateway.wire.sdp.transport import Setup, Transport
from chime_gateway.wire.webrtc.candidate import Candidate, Path, new_credentials

#: Where the other side is, to whoever has L{Peer.send}: which path leads there is the
#: business of ICE.  It is nobody's (RFC 5737).  For C{Terms.remote} and
#: C{Terms.remote_rtcp}.
REMOTE: Final[Address] = ("192.0.2.1", 9)


class PeerFailure(Enum):
    """Why a peer has ended by itself."""

    NO_PATH = "no_path"
    CONSENT_LOST = "consent_lost"
    FINGERPRINT = "fingerprint"
    NO_SRTP_PROFILE = "no_srtp_profile"
    DTLS_FAILED = "dtls_failed"
    CLOSED_BY_PEER = "closed_by_peer"


class PeerUser(Protocol):
    """Who has the call."""

    def peer_connected(self, keys: SrtpKeys) -> None:
        """Once; media may go both ways, with these keys."""

    def peer_failed(self, reason: str, kind: PeerFailure) -> None:
        """Once at most; it is closed already.  Not called behind L{Peer.close}."""


class Peer:
    """
    @param sockets: they are joined by L{start} and left by L{close}.
    @param rtp_received: gets what is RTP or RTCP, still encrypted, with L{REMOTE} as
        its address: C{RtpStream.rtp_received}, which tells the two apart.
    @param is_offerer: we have offered: C{a=setup:actpass}, and we control (RFC 8445
        section 6.1.1) unless we are lite and they are not.
    @param is_lite: we answer checks and send none, as we have a public address.
    @ivar local: our ufrag and password.
    @ivar setup: C{ACTPASS}, as in our offer; behind L{set_remote} what we answer.
    """

    def __init__(
        self,
        user: PeerUser,
        *,
        sockets: Sequence[Sockets],
        certificate: Certificate,
        clock: IReactorTime,
        rtp_received: Received,
        is_offerer: bool,
        is_lite: bool,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.local = new_credentials(random_bytes)
        self.setup = Setup.ACTPASS
        raise NotImplementedError

    @property
    def description(self) -> Transport:
        """Ours, to be offered or answered; behind L{start}."""
        raise NotImplementedError

    def start(self) -> None:
        """
        Listen.  Before our description goes out.

        @raise OSError: a socket cannot be opened, and nothing is left of it.
        """
        raise NotImplementedError

    def set_remote(self, transport: Transport) -> None:
        """
        What the other side offers or answers; once.

        @raise SdpError: we cannot come together.
        """
        raise NotImplementedError

    def send(self, data: bytes, address: Address) -> None:
        """RTP or RTCP, encrypted; lost while there is no path.  It never raises."""
        raise NotImplementedError

    def received(self, data: bytes, path: Path) -> None:
        """A packet came; for sockets."""
        raise NotImplementedError

    def path_opened(self, path: Path, candidate: Candidate) -> None:
        """A connection is there that L{Sockets.paths_to} has begun; for sockets."""
        raise NotImplementedError

    def path_lost(self, path: Path) -> None:
        """It leads nowhere any more; for sockets."""
        raise NotImplementedError

    def close(self) -> None:
        """Say so to the other side, and let go of everything.  May be done again."""
        raise NotImplementedError
