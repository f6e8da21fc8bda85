"""
The DTLS handshake with one peer, over the path that ICE has found.

It starts when the peer's description is known and ICE has verified a path.  A few
datagrams that come earlier are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

# Loaded now, because keys from DTLS are used for SRTP, and no call should wait for it.
import chime_gateway.rtp.srtp  # noqa: F401
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.webrtc.certificate import Certificate
from chime_gateway.webrtc.dtls import Dtls, is_usable
from chime_gateway.webrtc.sockets import socket_of
from chime_gateway.wire.sdp.description import SdpError
from chime_gateway.wire.sdp.transport import Fingerprint, Setup, Transport
from chime_gateway.wire.webrtc.candidate import Path

#: Maximum number of early datagrams that are kept: Chromium's ClientHello has two.
_MOST_EARLY: Final = 4


class Handshake:
    """
    One handshake, and the connection after it.

    @param accepts: returns whether packets on a path are the peer's.
    @param data_received: called with packets for a data channel; C{None}: there is
        none.
    @ivar setup: C{ACTPASS}, as in our offer; later our negotiated role.
    @ivar path: the path that packets take; C{None}: there is none yet.
    """

    def __init__(
        self,
        certificate: Certificate,
        accepts: Callable[[Path], bool],
        data_received: Callable[[bytes], None] | None = None,
    ) -> None:
        self.setup = Setup.ACTPASS
        self.path: Path | None = None
        self._certificate = certificate
        self._accepts = accepts
        self._data_received = data_received
        self._fingerprints: tuple[Fingerprint, ...] = ()
        self._dtls: Dtls | None = None
        self._early: deque[tuple[Path, bytes]] = deque(maxlen=_MOST_EARLY)

    @property
    def keys(self) -> SrtpKeys | None:
        return None if self._dtls is None else self._dtls.keys

    @property
    def is_done(self) -> bool:
        """
        Whether there are keys and a path: a server may have keys before it has a path.
        """
        return self.path is not None and self.keys is not None

    @property
    def due(self) -> float | None:
        """When L{tick} must be called."""
        return None if self._dtls is None else self._dtls.due

    def set_remote(self, transport: Transport) -> None:
        """
        The peer's description is known.

        @raise SdpError: its certificate could not be verified.
        """
        if not any(is_usable(one) for one in transport.fingerprints):
            raise SdpError("no fingerprint has a supported hash function")
        # Only a=setup determines the DTLS role, not the ICE role; an answer of active
        # to active is accepted.  If the choice is ours, the peer begins: it does so as
        # soon as its checks have succeeded.
        self.setup = transport.setup.answer(Setup.PASSIVE)
        self._fingerprints = transport.fingerprints

    def begin(self, now: float, path: Path) -> None:
        """
        Send packets on this path from now on.

        @raise DtlsError: DTLS has failed or ended; so do the methods below.
        """
        self.path = path
        if self._fingerprints:
            self._begun().start(now)
            self._send()

    def received(self, now: float, data: bytes, path: Path) -> None:
        """Process a DTLS datagram."""
        if not self._fingerprints or not self._accepts(path):
            self._early.append((path, data))
            return
        try:
            self._begun().received(now, data)
        finally:
            self._send(path)

    def go_on(self, now: float) -> None:
        """Process the early datagrams again: their path may be accepted now."""
        if self._early and self._fingerprints:
            early = list(self._early)
            self._early.clear()
            for path, data in early:
                self.received(now, data, path)

    def tick(self, now: float) -> None:
        if self._dtls is not None:
            try:
                self._dtls.tick(now)
            finally:
                self._send()

    def send(self, data: bytes) -> None:
        """Send a packet of a data channel; it is lost if there is no connection."""
        if self._dtls is not None:
            self._dtls.send(data)
            self._send()

    def pass_data(self) -> None:
        """Deliver the received packets of a data channel."""
        dtls, data_received = self._dtls, self._data_received
        if dtls is None or data_received is None or not dtls.inbox:
            return
        found, dtls.inbox = dtls.inbox, []
        for data in found:
            # The receiver may have closed everything.
            if self._dtls is not None:
                data_received(data)

    def close(self) -> None:
        """Send close_notify, and release everything."""
        self._early.clear()
        dtls = self._dtls
        if dtls is not None:
            dtls.close()
            self._send()
        self._dtls = self.path = self._data_received = None
        self._fingerprints = ()

    def _begun(self) -> Dtls:
        if self._dtls is None:
            self._dtls = Dtls(
                self._certificate,
                is_client=self.setup is Setup.ACTIVE,
                fingerprints=self._fingerprints,
            )
            if self._data_received is not None:
                self._dtls.inbox = []
        return self._dtls

    def _send(self, came_on: Path | None = None) -> None:
        """
        Send the outbox.

        @param came_on: the path for answers before one is selected.
        """
        dtls, path = self._dtls, self.path or came_on
        if dtls is None or not dtls.outbox:
            return
        outbox, dtls.outbox = dtls.outbox, []
        if path is not None:
            send, address = socket_of(path).send, (path.host, path.port)
            for data in outbox:
                send(data, address)
