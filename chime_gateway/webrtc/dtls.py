"""
The keys of SRTP, agreed on by DTLS (RFC 5764), without sockets or a clock of its own.

It does not know how the two found each other, nor what is sent under the keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.rtp.srtp import SrtpKeys
from chime_gateway.webrtc.certificate import Certificate
from chime_gateway.wire.sdp.transport import Fingerprint


class DtlsError(RemoteProtocolError):
    """The other side has not done as it must."""


class FingerprintError(DtlsError):
    """Its certificate is not the one that its description names."""


class NoProfileError(DtlsError):
    """It has no SRTP profile in common with us."""


class ClosedError(DtlsError):
    """It has ended it (close_notify)."""


class Dtls:
    """
    @param is_client: as C{a=setup} says, and nothing else.
    @param fingerprints: as the other side's description has them; its certificate
        must have one of them.
    @ivar outbox: datagrams to be sent; whoever calls takes them.
    @ivar keys: C{None} until all is agreed on and checked.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        is_client: bool,
        fingerprints: Sequence[Fingerprint],
    ) -> None:
        self.outbox: list[bytes] = []
        self.keys: SrtpKeys | None = None
        raise NotImplementedError

    def start(self, now: float) -> None:
        """The other side can be reached: a client begins."""
        raise NotImplementedError

    def received(self, now: float, datagram: bytes) -> None:
        """
        @raise DtlsError: it is over; what is in L{outbox} tells the other side.
        """
        raise NotImplementedError

    def tick(self, now: float) -> float | None:
        """
        Send again what is due.

        @return: when it wants to be called next; C{None}: not at all.
        @raise DtlsError: it took too long.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Say goodbye, if there is anybody to say it to."""
        raise NotImplementedError
