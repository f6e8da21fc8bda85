"""
Negotiates the keys of SRTP by DTLS, over the ports of one leg (RFC 5763, RFC 5764).

Before there are keys, nothing of the stream is sent or received.  RTCP on a separate
port has a separate association.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Protocol

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.carriers.sip.keys.handshakes import Handshakes
from chime_gateway.net.timer import Timer
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address, Received
from chime_gateway.rtp.terms import Terms
from chime_gateway.webrtc.certificate import process_certificate
from chime_gateway.webrtc.dtls import ClosedError, DtlsError
from chime_gateway.wire.sdp.keying import Association, LocalKeying
from chime_gateway.wire.webrtc.candidate import Credentials, Path, new_credentials
from chime_gateway.wire.webrtc.ice import IceAgent

#: The name of a leg's only ICE path.
_PORT: Final = "port"


def new_local_keying() -> LocalKeying:
    """Return the keying of one leg, with the certificate of the process."""
    return LocalKeying(
        fingerprint=process_certificate().fingerprint,
        credentials=new_credentials(os.urandom),
    )


class Ports(Protocol):
    """The ports of a leg; see L{chime_gateway.rtp.ports.RtpPort}."""

    def listen(self, rtp_received: Received, rtcp_received: Received) -> None: ...
    def send_rtp(self, data: bytes, address: Address) -> None: ...
    def send_rtcp(self, data: bytes, address: Address) -> None: ...


class Flow:
    """
    One association over one port, with ICE before it if it was offered.

    @param remote: the address that packets go to, unless ICE finds another, or a peer
        at another address shows the certificate.
    @param media: receives RTP and RTCP.
    @param agreed: called once, when there are keys.
    @param failed: called with the reason why there are none.
    @ivar keys: the keys; C{None}: there are none yet.
    """

    _log = Logger()

    def __init__(
        self,
        association: Association,
        clock: IReactorTime,
        *,
        remote: Address,
        send: Callable[[bytes, Address], None],
        media: Received,
        is_allowed: Callable[[str], bool],
        agreed: Callable[[], None],
        failed: Callable[[str], None],
        local: Credentials | None,
    ) -> None:
        self.keys: SrtpKeys | None = None
        self._clock = clock
        self._send = send
        self._media = media
        self._is_allowed = is_allowed
        self._agreed = agreed
        self._failed = failed
        self._timer = Timer(clock)
        self._is_closed = False
        self._dtls = Handshakes(process_certificate(), association, remote)
        self._ice: IceAgent | None = None
        if association.credentials is not None and local is not None:
            self._ice = IceAgent(
                local,
                is_controlling=False,
                is_lite=True,
                tie_breaker=0,
                new_transaction=lambda: os.urandom(12),
            )
            now = clock.seconds()
            self._ice.set_remote(now, association.credentials, (), is_lite=False)

    @property
    def remote(self) -> Address:
        """The address that packets go to."""
        return self._dtls.place

    def start(self) -> None:
        """Begin the handshake, unless ICE comes first."""
        self._surely(lambda now: None if self._ice else self._dtls.start(now))

    def received(self, data: bytes, address: Address) -> None:
        """Take a datagram of the port."""
        if data and 128 <= data[0] <= 191:
            self._media(data, address)
        elif data and not self._is_closed and self._is_allowed(address[0]):
            if data[0] <= 3:
                self._checked(data, address)
            elif 20 <= data[0] <= 63:
                self._shaken(data, address)

    def close(self) -> None:
        """Close, and notify the peer."""
        if not self._is_closed:
            self._is_closed = True
            self._timer.stop()
            self._dtls.close()
            self._flush()

    # -- inside ------------------------------------------------------------------

    def _checked(self, data: bytes, address: Address) -> None:
        ice = self._ice
        if ice is None:
            return

        def check(now: float) -> None:
            ice.received(now, data, Path(_PORT, *address))
            if ice.selected is not None:
                self._dtls.place = ice.selected.host, ice.selected.port
                self._dtls.start(now)

        self._surely(check)

    def _shaken(self, data: bytes, address: Address) -> None:
        if self._ice is not None:
            if not self._ice.accepts(Path(_PORT, *address)):
                return
            # Every valid path of ICE leads to the peer.
            address = self.remote
        self._surely(lambda now: self._dtls.received(now, data, address))

    def _tick(self) -> None:
        def tick(now: float) -> None:
            self._dtls.tick(now)
            if self._ice is not None:
                self._ice.tick(now)

        self._surely(tick)

    def _surely(self, do: Callable[[float], object]) -> None:
        """Take a step: send what it produces, and report its result."""
        now = self._clock.seconds()
        try:
            do(now)
        except ClosedError:
            # The peer has closed DTLS.  Its BYE follows, or its media ends.
            self._flush()
            return
        except DtlsError as exc:
            self._flush()
            self._fail(f"DTLS: {exc}")
            return
        self._flush()
        ice = self._ice
        # Once there are keys, only the media shows whether the peer is alive.
        if ice is not None and ice.failure is not None and self.keys is None:
            self._fail(f"ICE: {ice.failure.value}")
            return
        dues = [self._dtls.due, None if ice is None else ice.due]
        due = min((one for one in dues if one is not None), default=None)
        if due is None:
            self._timer.stop()
        else:
            # Never 0: rounding errors could cause a busy loop.
            self._timer.start(max(0.001, due - now), self._tick)
        if self.keys is None and self._dtls.keys is not None:
            self.keys = self._dtls.keys
            self._agreed()

    def _fail(self, why: str) -> None:
        self._timer.stop()
        self._is_closed = True
        self._failed(why)

    def _flush(self) -> None:
        if self._ice is not None:
            outbox, self._ice.outbox = self._ice.outbox, []
            for path, data in outbox:
                self._send(data, (path.host, path.port))
        sent, self._dtls.outbox = self._dtls.outbox, []
        for place, data in sent:
            self._send(data, place)


class KeyExchange:
    """
    The key exchange of one leg.  Terms go to its stream when there are keys.

    @param agree: called with terms that have keys.
    @param attach: called with the functions that send RTP and RTCP.
    @param failed: called with the reason why there are no keys.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ports: Ports,
        *,
        local: Credentials,
        rtp_received: Received,
        rtcp_received: Received,
        is_allowed: Callable[[str], bool],
        agree: Callable[[Terms], None],
        attach: Callable[[Received, Received], None],
        failed: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._ports = ports
        self._local = local
        self._rtp_received = rtp_received
        self._rtcp_received = rtcp_received
        self._is_allowed = is_allowed
        self._agree = agree
        self._attach = attach
        self._failed = failed
        self._terms: Terms | None = None
        self._begun: tuple[Association, Address] | None = None
        self._flows: list[Flow] = []

    def agree(self, terms: Terms) -> None:
        """Apply terms with C{Terms.dtls}, as soon as there are keys."""
        association = terms.dtls
        assert association is not None
        # With ICE, the address in the description does not matter.
        remote = ("", 0) if association.credentials is not None else terms.remote
        if self._begun != (association, remote):
            self.close()
            self._begun = association, remote
            self._terms = terms
            self._begin(association, terms)
        self._terms = terms
        self._told()

    def stop(self) -> None:
        """Go on without DTLS."""
        self.close()
        self._ports.listen(self._rtp_received, self._rtcp_received)
        self._attach(self._ports.send_rtp, self._ports.send_rtcp)

    def close(self) -> None:
        self._terms = None
        for flow in self._flows:
            flow.close()
        self._flows.clear()
        self._begun = None

    # -- inside ------------------------------------------------------------------

    def _begin(self, association: Association, terms: Terms) -> None:
        ports = self._ports
        rtp = self._flow(
            association,
            terms.remote,
            ports.send_rtp,
            self._rtp_received,
            self._failed,
        )
        self._flows.append(rtp)
        if association.is_muxed:
            ports.listen(rtp.received, _discard)
            self._attach(ports.send_rtp, ports.send_rtp)
        else:
            rtcp = self._flow(
                association,
                terms.remote_rtcp,
                ports.send_rtcp,
                self._rtcp_received,
                # Some peers have no RTCP although they announce it.  The call goes on.
                _ignore,
            )
            self._flows.append(rtcp)
            ports.listen(rtp.received, rtcp.received)
            # RTCP is not sent before it has keys of its own.
            self._attach(ports.send_rtp, _discard)
        for flow in list(self._flows):
            flow.start()

    def _flow(
        self,
        association: Association,
        remote: Address,
        send: Callable[[bytes, Address], None],
        media: Received,
        failed: Callable[[str], None],
    ) -> Flow:
        return Flow(
            association,
            self._clock,
            remote=remote,
            send=send,
            media=media,
            is_allowed=self._is_allowed,
            agreed=self._told,
            failed=failed,
            local=self._local,
        )

    def _told(self) -> None:
        """There are new keys.  Those of RTP are enough to begin."""
        terms = self._terms
        if terms is None or not self._flows or self._flows[0].keys is None:
            return
        first, *rest = self._flows
        terms = evolve(terms, keys=first.keys, remote=first.remote)
        if not rest:
            terms = evolve(terms, remote_rtcp=first.remote)
        elif rest[0].keys is not None:
            terms = evolve(terms, rtcp_keys=rest[0].keys, remote_rtcp=rest[0].remote)
            self._attach(self._ports.send_rtp, self._ports.send_rtcp)
        self._agree(terms)


def _ignore(why: str) -> None:
    """A failure of RTCP's association does not matter."""


def _discard(data: bytes, address: Address) -> None:
    """Drop a datagram."""
