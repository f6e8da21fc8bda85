"""
The DTLS handshake with one peer, over the path that ICE has found.

It starts when the other side's description is there and ICE has verified a path.  A
few datagrams that come too early are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

# Whose keys come of DTLS wants them for SRTP: no call waits until it is loaded.
import chime_gateway.rtp.srtp  # noqa: F401
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.webrtc.certificate import Certificate
from chime_gateway.webrtc.dtls import Dtls, is_usable
from chime_gateway.webrtc.sockets import socket_of
from chime_gateway.wire.sdp.description import SdpError
from chime_gateway.wire.sdp.transport import Fingerprint, Setup, Transport
from chime_gateway.wire.webrtc.candidate import Path

#: Datagrams that come too early: a ClientHello of Chromium's has two.
_MOST_EARLY: Final = 4


class Handshake:
    """
    @param accepts: whether what comes on a path is the other side's.
    @param data_received: gets what comes for a data channel; C{None}: none is offered.
    @ivar setup: C{ACTPASS}, as in our offer; later what we answer, or were told to be.
    @ivar path: where packets go; C{None}: nowhere yet.
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
        """Keys are there, and a path: a server may have them before one is selected."""
        return self.path is not None and self.keys is not None

    @property
    def due(self) -> float | None:
        """When L{tick} wants to be called."""
        return None if self._dtls is None else self._dtls.due

    def set_remote(self, transport: Transport) -> None:
        """
        @raise SdpError: its certificate cannot be known.
        """
        if not any(is_usable(one) for one in transport.fingerprints):
            raise SdpError("no fingerprint has a hash that is known here")
        # Its role is in a=setup alone: ICE's roles say nothing of it, and who answers
        # active to active is believed.  Who may choose lets the other side begin: it
        # does so when its checks have told it that it can.
        self.setup = transport.setup.answer(Setup.PASSIVE)
        self._fingerprints = transport.fingerprints

    def begin(self, now: float, path: Path) -> None:
        """
        Packets go there from now on.

        @raise DtlsError: it is over, as in all that follows.
        """
        self.path = path
        if self._fingerprints:
            self._begun().start(now)
            self._send()

    def received(self, now: float, data: bytes, path: Path) -> None:
        """A datagram of DTLS."""
        if not self._fingerprints or not self._accepts(path):
            self._early.append((path, data))
            return
        try:
            self._begun().received(now, data)
        finally:
            self._send(path)

    def go_on(self, now: float) -> None:
        """Something was heard on a path: perhaps what came early was there, too."""
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
        """Of a data channel; lost where there is nothing to send it by."""
        if self._dtls is not None:
            self._dtls.send(data)
            self._send()

    def pass_data(self) -> None:
        """Hand on what came for a data channel."""
        dtls, data_received = self._dtls, self._data_received
        if dtls is None or data_received is None or not dtls.inbox:
            return
        found, dtls.inbox = dtls.inbox, []
        for data in found:
            # Whoever hears it may have closed everything.
            if self._dtls is not None:
                data_received(data)

    def close(self) -> None:
        """Say goodbye, and let go of everything."""
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
        @param came_on: the path that an answer goes to before one is selected.
        """
        dtls, path = self._dtls, self.path or came_on
        if dtls is None or not dtls.outbox:
            return
        outbox, dtls.outbox = dtls.outbox, []
        if path is not None:
            send, address = socket_of(path).send, (path.host, path.port)
            for data in outbox:
                send(data, address)
