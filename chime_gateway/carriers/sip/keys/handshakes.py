"""
DTLS with every address that sends to a port, until one shows the announced certificate.

Behind NAT the peer has another address than its description says, and only its
certificate distinguishes it from a stranger.  So each address has a separate handshake,
and a stranger can break only its own.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.certificate import Certificate
from chime_gateway.webrtc.dtls import Dtls, DtlsError
from chime_gateway.wire.sdp.keying import Association

#: The maximum number of other addresses than the described one: each may cost a
#: signature.
_MOST_OTHERS: Final = 16


class Handshakes:
    """
    The handshakes on one port.

    @param place: the peer's address in its description.
    @ivar place: the peer's address; once it is known, that of the peer that has shown
        the certificate.
    @ivar outbox: datagrams to send, with their addresses.  The owner takes them after
        each call.
    """

    def __init__(
        self, certificate: Certificate, association: Association, place: Address
    ) -> None:
        self.place = place
        self.outbox: list[tuple[Address, bytes]] = []
        self._certificate = certificate
        self._association = association
        self._described = self._new()
        self._others: dict[Address, Dtls] = {}
        self._begun = 0

    @property
    def keys(self) -> SrtpKeys | None:
        return self._described.keys

    @property
    def due(self) -> float | None:
        """When to call L{tick} next; C{None}: never."""
        dues = (one.due for one in (self._described, *self._others.values()))
        return min((due for due in dues if due is not None), default=None)

    def start(self, now: float) -> None:
        """
        Begin: the peer can be reached at its described address.

        @raise DtlsError: the handshake with the peer has failed.  L{received} and
            L{tick} raise it as well.
        """
        try:
            self._described.start(now)
        finally:
            self._take(self.place, self._described)

    def received(self, now: float, datagram: bytes, source: Address) -> None:
        """
        Take a datagram.

        @param source: the address that it came from, perhaps a stranger's.
        """
        if source != self.place:
            self._received_from_other(now, datagram, source)
            return
        try:
            self._described.received(now, datagram)
        finally:
            self._take(self.place, self._described)
        self._forget_others()

    def tick(self, now: float) -> None:
        try:
            self._described.tick(now)
        finally:
            self._take(self.place, self._described)
        for source, one in list(self._others.items()):
            try:
                one.tick(now)
            except DtlsError:
                del self._others[source]
            self._take(source, one)

    def close(self) -> None:
        """Close, and notify the peer."""
        self._others.clear()
        self._described.close()
        self._take(self.place, self._described)

    # -- inside ------------------------------------------------------------------

    def _new(self) -> Dtls:
        return Dtls(
            self._certificate,
            is_client=self._association.is_client,
            fingerprints=self._association.fingerprints,
        )

    def _received_from_other(
        self, now: float, datagram: bytes, source: Address
    ) -> None:
        # A peer that is the DTLS server answers from its described address.
        if self.keys is not None or self._association.is_client:
            return
        one = self._others.get(source) or self._other(source)
        if one is None:
            return
        try:
            one.received(now, datagram)
        except DtlsError:
            del self._others[source]
        self._take(source, one)
        if one.keys is not None:
            self._described.close()
            self.place, self._described = source, one
            self._others.clear()

    def _other(self, source: Address) -> Dtls | None:
        """Begin a handshake with another address; C{None}: there were too many."""
        if self._begun >= _MOST_OTHERS:
            return None
        self._begun += 1
        one = self._others[source] = self._new()
        return one

    def _forget_others(self) -> None:
        if self.keys is not None:
            self._others.clear()

    def _take(self, place: Address, one: Dtls) -> None:
        """Put what a handshake has to send into the outbox."""
        sent, one.outbox = one.outbox, []
        self.outbox += [(place, data) for data in sent]
