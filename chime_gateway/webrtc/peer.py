"""
The peer of one call: ICE finds the path, DTLS negotiates the keys, and media is passed
on.

It owns no sockets, and its owner exchanges the session descriptions.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.net.timer import Timer
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.ports import Address, Received
from chime_gateway.webrtc.certificate import Certificate
from chime_gateway.webrtc.dtls import (
    ClosedError,
    DtlsError,
    FingerprintError,
    NoProfileError,
)
from chime_gateway.webrtc.handshake import Handshake
from chime_gateway.webrtc.sockets import Send, Sockets, socket_of
from chime_gateway.wire.sdp.description import SdpError
from chime_gateway.wire.sdp.transport import Setup, Transport
from chime_gateway.wire.webrtc.candidate import Candidate, Path, new_credentials
from chime_gateway.wire.webrtc.ice import Failure, IceAgent
from chime_gateway.wire.webrtc.stun import Message, MessageClass

#: The peer's address in C{Terms.remote} and C{Terms.remote_rtcp}: a constant that no
#: host has (RFC 5737), as ICE chooses the path.
REMOTE: Final[Address] = ("192.0.2.1", 9)


class PeerFailure(Enum):
    """Why a peer has ended on its own."""

    NO_PATH = "no_path"
    CONSENT_LOST = "consent_lost"
    FINGERPRINT = "fingerprint"
    NO_SRTP_PROFILE = "no_srtp_profile"
    DTLS_FAILED = "dtls_failed"
    CLOSED_BY_PEER = "closed_by_peer"
    #: A bug in the gateway.
    BROKEN = "broken"


_OF_DTLS: Final = {
    FingerprintError: PeerFailure.FINGERPRINT,
    NoProfileError: PeerFailure.NO_SRTP_PROFILE,
    ClosedError: PeerFailure.CLOSED_BY_PEER,
}


class PeerUser(Protocol):
    """The user of a peer."""

    def peer_connected(self, keys: SrtpKeys) -> None:
        """Media may be sent and received, with these keys; called once."""

    def peer_failed(self, reason: str, kind: PeerFailure) -> None:
        """The peer has closed; called at most once, and never after L{Peer.close}."""


def _lose(data: bytes, address: Address) -> bool:
    """Does nothing, as there is no path."""
    return False


def _pass_over(data: bytes, address: Address) -> None:
    """Does nothing, as the call has ended."""


class Peer:
    """
    @param sockets: L{start} joins them, and L{close} leaves them.
    @param rtp_received: called with encrypted RTP and RTCP, and L{REMOTE} as the
        address: C{RtpStream.rtp_received}, which distinguishes the two.
    @param is_offerer: whether we have made the offer, with C{a=setup:actpass}; then we
        are controlling (RFC 8445 section 6.1.1), unless we are ICE-lite.
    @param is_lite: whether we only answer checks, as we have a public address.
    @param data_received: called with a data channel's packets; C{None}: not offered.
    @param mark: prefix of our ufrag.
    @param dropped: counts dropped packets by reason; C{None}: a counter of its own.
    @ivar local: our ufrag and password.
    """

    _log = Logger()

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
        mark: str = "",
        dropped: Counter[str] | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        data_received: Callable[[bytes], None] | None = None,
    ) -> None:
        self.local = new_credentials(random_bytes, mark)
        self.dropped = Counter[str]() if dropped is None else dropped
        self._user: PeerUser | None = user
        self._sockets = tuple(sockets)
        self._certificate = certificate
        self._clock = clock
        self._rtp_received = rtp_received
        self._is_lite = is_lite
        self._agent = IceAgent(
            self.local,
            is_controlling=is_offerer and not is_lite,
            is_lite=is_lite,
            tie_breaker=int.from_bytes(random_bytes(8), "big"),
            new_transaction=lambda: random_bytes(12),
        )
        self._handshake = Handshake(certificate, self._agent.accepts, data_received)
        self._timer = Timer(clock)
        self._due: float | None = None
        self._is_connected = False
        self._send: Send = _lose
        self._address = REMOTE
        # The path of the last media packet: compared for each packet, nearly constant.
        self._heard_on: Path | None = None

    @property
    def is_closed(self) -> bool:
        return self._user is None

    @property
    def path(self) -> Path | None:
        """The path that packets take; C{None}: there is none yet, or no longer."""
        return self._handshake.path

    @property
    def setup(self) -> Setup:
        """C{ACTPASS}, as in our offer; after L{set_remote}, our negotiated role."""
        return self._handshake.setup

    @property
    def description(self) -> Transport:
        """Our transport for an offer or answer; available after L{start}."""
        return Transport(
            credentials=self.local,
            fingerprints=(self._certificate.fingerprint,),
            setup=self.setup,
            candidates=tuple(
                candidate for one in self._sockets for candidate in one.candidates
            ),
            is_lite=self._is_lite,
        )

    def start(self) -> None:
        """
        Open the sockets, before our description is sent.

        @raise OSError: a socket cannot be opened; the peer is closed.
        """
        try:
            for one in self._sockets:
                one.join(self)
        except BaseException:
            self.close()
            raise

    def set_remote(self, transport: Transport) -> None:
        """
        Use the peer's offer or answer; called once.

        @raise SdpError: no connection is possible.
        """
        if self._user is None:
            return
        if self._is_lite and transport.is_lite:
            raise SdpError("both sides are ICE-lite")
        self._handshake.set_remote(transport)
        paths = [
            (path, candidate.priority)
            for candidate in (() if self._is_lite else transport.candidates)
            for one in self._sockets
            for path in one.paths_to(self, candidate)
        ]
        now = self._clock.seconds()
        self._agent.set_remote(
            now, transport.credentials, paths, is_lite=transport.is_lite
        )
        self._go_on_safely(now)

    def send(self, data: bytes, address: Address) -> None:
        """Send encrypted RTP or RTCP; lost while there is no path.  Never raises."""
        if not self._send(data, self._address):
            self.dropped["not_sent"] += 1

    def send_data(self, data: bytes) -> None:
        """Send a data channel's packet; lost while there are no keys.  Never raises."""
        try:
            self._handshake.send(data)
        except DtlsError as exc:
            self._dtls_failed(exc)

    def knows(self, path: Path) -> bool:
        """Whether valid checks came on this path; for sockets."""
        return self._user is not None and self._agent.knows(path)

    @property
    def unanswered(self) -> int:
        """Number of consent requests in a row without an answer."""
        consent = self._agent.consent
        return 0 if consent is None else consent.unanswered

    def ask_consent(self) -> None:
        """Send a consent request now, to find out whether the peer still answers."""
        consent = self._agent.consent
        if self._user is not None and consent is not None:
            consent.hurry(self._clock.seconds())
            self._tick()

    def has_signed(self, message: Message) -> bool:
        """
        Whether the peer has signed a request, which it does with our password.
        """
        is_request = message.message_class is MessageClass.REQUEST
        return is_request and message.is_signed_by(self.local.password)

    def seconds(self) -> float:
        """Return the clock's time."""
        return self._clock.seconds()

    def received(self, data: bytes, path: Path) -> None:
        """Process a received packet; for sockets.  Never raises."""
        try:
            # First bytes: RFC 7983 section 7.
            if data and 128 <= data[0] <= 191:
                if path is self._heard_on or self._may_hear(path):
                    self._rtp_received(data, REMOTE)
                return
            if self._user is None or not data:
                return
            if data[0] <= 3:
                now = self._clock.seconds()
                self._agent.received(now, data, path)
                self._go_on(now)
            elif 20 <= data[0] <= 63:
                now = self._clock.seconds()
                self._handshake.received(now, data, path)
                self._go_on(now)
                if self._is_connected:
                    self._handshake.pass_data()
            else:
                self.dropped["unknown"] += 1
        except DtlsError as exc:
            self._dtls_failed(exc)
        except MemoryError:
            self.dropped["memory"] += 1
        except Exception:
            self.broken()

    def path_opened(self, path: Path, candidate: Candidate) -> None:
        """A connection that L{Sockets.paths_to} began is open; for sockets."""
        if self._user is not None:
            now = self._clock.seconds()
            self._agent.add_path(now, path, candidate.priority)
            self._go_on_safely(now)

    def path_lost(self, path: Path) -> None:
        """The connection of a path is lost; for sockets."""
        if self._user is not None:
            now = self._clock.seconds()
            if path == self._heard_on:
                self._heard_on = None
            self._agent.remove_path(now, path)
            self._go_on_safely(now)

    def broken(self) -> None:
        """A packet or a timer has met a bug; for sockets, too."""
        self._log.failure("a WebRTC peer has failed")
        self._fail("an internal error", PeerFailure.BROKEN)

    def close(self) -> None:
        """Notify the peer, and release everything; may be repeated."""
        if self._user is None:
            return
        self._user = None
        self._timer.stop()
        with self._log.failuresHandled("could not close DTLS"):
            self._handshake.close()
        self._rtp_received = _pass_over
        self._heard_on = None
        self._send = _lose
        self._agent.outbox.clear()
        sockets, self._sockets = self._sockets, ()
        for one in sockets:
            with self._log.failuresHandled("could not leave a socket"):
                one.leave(self)

    # -- inside ----------------------------------------------------------------

    def _may_hear(self, path: Path) -> bool:
        """Whether media on this path is the peer's."""
        if not self._is_connected or self._user is None:
            self.dropped["early"] += 1
        elif not self._agent.accepts(path):
            self.dropped["stranger"] += 1
        else:
            self._heard_on = path
            return True
        return False

    def _go_on(self, now: float) -> None:
        """
        After a change: send packets, notify the user, and set the timer.

        @raise DtlsError: DTLS has failed or ended.
        """
        agent, handshake = self._agent, self._handshake
        if agent.outbox:
            outbox, agent.outbox = agent.outbox, []
            for path, data in outbox:
                socket_of(path).send(data, (path.host, path.port))
        if agent.failure is not None:
            is_lost = agent.failure is Failure.CONSENT_LOST
            kind = PeerFailure.CONSENT_LOST if is_lost else PeerFailure.NO_PATH
            # Nothing may be sent now, not even close_notify (RFC 7675 section 5.1).
            handshake.path = None
            self._fail(agent.failure.value, kind)
            return
        selected = agent.selected
        if selected is not None and selected != handshake.path:
            self._send = socket_of(selected).send
            for one in self._sockets:
                self._send = one.settle(self, selected) or self._send
            self._address = selected.host, selected.port
            self._heard_on = None
            handshake.begin(now, selected)
        handshake.go_on(now)
        if handshake.is_done and not self._is_connected:
            self._is_connected = True
            if self._user is not None and handshake.keys is not None:
                self._user.peer_connected(handshake.keys)
        self._wait(now)

    def _go_on_safely(self, now: float) -> None:
        try:
            self._go_on(now)
        except DtlsError as exc:
            self._dtls_failed(exc)
        except Exception:
            self.broken()

    def _wait(self, now: float) -> None:
        """Set the timer to whatever is due first."""
        if self._user is None:
            return
        dues = [
            one for one in (self._agent.due, self._handshake.due) if one is not None
        ]
        due = min(dues, default=None)
        if due == self._due and self._timer.is_running:
            return
        self._due = due
        if due is None:
            self._timer.stop()
        else:
            self._timer.start(max(0.0, due - now), self._tick)

    def _tick(self) -> None:
        try:
            # Rounding may have made the timer fire slightly too early.
            now = max(self._clock.seconds(), self._due or 0.0)
            self._agent.tick(now)
            self._handshake.tick(now)
            self._go_on(now)
        except DtlsError as exc:
            self._dtls_failed(exc)
        except Exception:
            self.broken()

    def _dtls_failed(self, error: DtlsError) -> None:
        self._fail(str(error), _OF_DTLS.get(type(error), PeerFailure.DTLS_FAILED))

    def _fail(self, reason: str, kind: PeerFailure) -> None:
        """Close the peer, then report the failure."""
        user = self._user
        if user is not None:
            self.close()
            user.peer_failed(reason, kind)
