"""The caller's leg over WebRTC: a peer, and its RTP stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from attrs import Factory, define
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.carriers.towards_call import TowardsCall
from chime_gateway.carriers.webrtc.agreement import Agreement
from chime_gateway.errors import TransferFailed
from chime_gateway.interfaces import CarrierTraits
from chime_gateway.media.metronome import Metronome
from chime_gateway.media.stats import NetworkStats
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.release import Release
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.paced import PacedStream
from chime_gateway.rtp.ports import Address, Received
from chime_gateway.settings.webrtc import WebRtcSettings
from chime_gateway.switchboard import Switchboard
from chime_gateway.webrtc.peer import PeerFailure, PeerUser
from chime_gateway.wire.sdp.transport import Transport

#: The outcomes of failures of the peer.  A peer that has closed has hung up.
_OUTCOMES: Final[Mapping[PeerFailure, Outcome]] = {
    PeerFailure.NO_PATH: Outcome.CALLER_LOST,
    PeerFailure.CONSENT_LOST: Outcome.CALLER_LOST,
    PeerFailure.FINGERPRINT: Outcome.CALLER_PROTOCOL_ERROR,
    PeerFailure.NO_SRTP_PROFILE: Outcome.CALLER_PROTOCOL_ERROR,
    PeerFailure.DTLS_FAILED: Outcome.CALLER_PROTOCOL_ERROR,
    PeerFailure.BROKEN: Outcome.INTERNAL_ERROR,
}

#: The media timeout.  It has no effect here: whether the caller is alive is shown by
#: consent checks (RFC 7675), which the peer watches.
_MEDIA_SECONDS: Final = 30.0


class LegPeer(Protocol):
    """The peer, as a leg uses it; see L{chime_gateway.webrtc.peer.Peer}."""

    @property
    def description(self) -> Transport: ...
    def start(self) -> None: ...
    def set_remote(self, transport: Transport) -> None: ...
    def send(self, data: bytes, address: Address) -> None: ...
    def close(self) -> None: ...


class WebRtcLegOwner(Protocol):
    """The carrier, as its legs use it."""

    def new_peer(
        self,
        user: PeerUser,
        rtp_received: Received,
        mark: str,
        dropped: Counter[str],
    ) -> LegPeer:
        """
        Make a peer.

        @param mark: the beginning of its ufrag.
        @param dropped: counts dropped packets, by reason.
        """

    def leg_over(self, leg: WebRtcLeg) -> None: ...


@define(kw_only=True, eq=False)
class WebRtcContext:
    """
    What all legs of the carrier share.

    @ivar new_token: returns a new random text.
    @ivar random32: returns a new random number.
    @ivar wall_time: Unix seconds.
    @ivar finished: the counters of legs that have ended.
    """

    settings: WebRtcSettings
    switchboard: Switchboard
    metronome: Metronome
    clock: IReactorTime
    wall_time: Callable[[], float]
    new_token: Callable[[], str]
    random32: Callable[[], int]
    owner: WebRtcLegOwner
    finished: NetworkStats = Factory(NetworkStats)


class WebRtcLeg(TowardsCall):
    """
    One caller (L{chime_gateway.interfaces.ArrivingLeg}), from the accepted offer to the
    end of the call.

    @ivar call_id: the whole id of the call.
    @ivar cname: the canonical name of the gateway's media, for descriptions.
    @ivar description: the gateway's side, for the answer; valid after L{open}.
    """

    traits = CarrierTraits(
        name="webrtc",
        buffers=False,
        reports_playback=False,
        keeps_time=True,
        arrives_later=True,
    )
    _log = Logger()

    def __init__(
        self,
        context: WebRtcContext,
        call_id: str,
        info: CallerInfo,
        agreement: Agreement,
    ) -> None:
        super().__init__()
        self.call_id = call_id
        self.info = info
        self.codec = agreement.codec
        self._context = context
        self._agreement = agreement
        self._is_over = self._is_connected = self._is_streaming = False
        self._arriving: Deferred[None] | None = None
        self._connecting = Timer(context.clock)
        self.cname = context.new_token()
        self._paced = paced = PacedStream(
            agreement.codec,
            self,
            # The peer passes on only packets that are its own.
            is_allowed=lambda _: True,
            metronome=context.metronome,
            clock=context.clock.seconds,
            wall_time=context.wall_time,
            random32=context.random32,
            cname=self.cname,
            timeout_seconds=_MEDIA_SECONDS,
        )
        stream = paced.stream
        self._peer = context.owner.new_peer(
            self, stream.rtp_received, info.carrier_call_id, stream.stats.dropped
        )
        stream.attach(self._peer.send, self._peer.send)
        # Called for every frame, so bound directly.
        self.play: Callable[[bytes], None] = paced.play
        self.clear: Callable[[], None] = paced.clear

    # -- called by the carrier ---------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self._is_over

    @property
    def ssrc(self) -> int:
        """The SSRC of the gateway's stream."""
        return self._paced.stream.ssrc

    @property
    def description(self) -> Transport:
        return self._peer.description

    def open(self) -> None:
        """
        Begin ICE.  If it raises, call L{release}.

        @raise SdpError: the two sides cannot connect.
        @raise OSError: no socket could be opened.
        """
        self._peer.start()
        self._peer.set_remote(self._agreement.offer.transport)
        seconds = self._context.settings.connect_seconds
        self._connecting.start(seconds, self._not_connected, seconds)

    def begin(self) -> None:
        """
        Open an agent while ICE and DTLS are in progress.

        In parallel they take a second less.  An offer is answered only with the right
        credentials, and C{limits} and C{connect_seconds} limit what it may cost.

        @raise CallRefused: it cannot be served; call L{release}.
        """
        call = self._context.switchboard.incoming(self)
        if not self._is_over:  # it may have ended while it began
            self._call = call

    def deleted(self) -> None:
        """The caller has ended the call by HTTP."""
        self._surely(lambda: self._end(self._hung_up()))

    def network_stats(self) -> NetworkStats:
        return self._paced.stats()

    def failed(self) -> None:
        """A bug in the gateway ends this call only."""
        self._end(Ending(Outcome.INTERNAL_ERROR, "internal error"))

    # -- CallLeg -----------------------------------------------------------------

    def answer(self) -> None:
        """Does nothing, as the answer was sent by HTTP."""

    def arrive(self) -> Deferred[None]:
        self._arriving = arriving = Deferred[None]()
        if self._is_connected:
            arriving.callback(None)
        return arriving

    def mark(self, name: str) -> None:
        """Does nothing, as a paced leg has no marks."""

    def send_digits(self, digits: str) -> bool:
        return self._paced.send_digits(digits)

    def transfer(self, target: str) -> Deferred[None]:
        """Fails: there is no carrier that could transfer the caller."""
        return fail(TransferFailed("a WebRTC caller cannot be transferred"))

    def hang_up(self, ending: Ending) -> None:
        self.release()

    # -- PeerUser ----------------------------------------------------------------

    def peer_connected(self, keys: SrtpKeys) -> None:
        self._surely(lambda: self._connected(keys))

    def _connected(self, keys: SrtpKeys) -> None:
        if self._is_over:
            return
        self._connecting.stop()
        self._is_connected = self._is_streaming = True
        self._paced.agree(self._agreement.terms(keys))
        arriving = self._arriving
        if arriving is not None and not arriving.called:
            arriving.callback(None)

    def peer_failed(self, reason: str, kind: PeerFailure) -> None:
        outcome = _OUTCOMES.get(kind)
        ending = self._hung_up() if outcome is None else Ending(outcome, reason)
        self._surely(lambda: self._end(ending))

    def _not_connected(self, seconds: float) -> None:
        why = f"there was no connection within {seconds:g} s"
        self._surely(lambda: self._end(Ending(Outcome.CALLER_LOST, why)))

    def _hung_up(self) -> Ending:
        """Return the ending.  A caller who was not connected yet has abandoned."""
        outcome = Outcome.COMPLETED if self._is_connected else Outcome.ABANDONED
        return Ending(outcome, "the caller hung up")

    # -- StreamUser --------------------------------------------------------------

    def audio_held(self, is_held: bool) -> None:
        """Never called: there is one offer, and it is for both directions."""

    def audio_timed_out(self, seconds: float) -> None:
        """Does nothing: a caller who sends no media is alive while it consents."""

    def hold_unheard(self) -> None:
        """Never called: there is no hold."""

    def audio_failed(self) -> None:
        self._surely(self.failed)

    # -- the end -----------------------------------------------------------------

    def _surely(self, do: Callable[[], None]) -> None:
        """Run something that is not repeated: if it fails, this call ends."""
        try:
            do()
        except Exception:
            try:
                self._log.failure("a bug in a call over WebRTC")
            finally:
                self.failed()

    def _end(self, ending: Ending) -> None:
        """End the leg: release its resources, and notify the call."""
        call = self._call
        try:
            self.release()
        finally:
            if call is not None:
                call.leg_ended(ending)

    def release(self) -> None:
        """Release everything.  May be repeated after a failure."""
        self._is_over = True
        self._call = None
        steps = (
            WebRtcLeg._leave_carrier,
            WebRtcLeg._stop,
            WebRtcLeg._close_audio,
            WebRtcLeg._close_peer,
        )
        Release(self, steps).run()

    def _leave_carrier(self) -> None:
        self._context.owner.leg_over(self)

    def _stop(self) -> None:
        self._connecting.stop()

    def _close_audio(self) -> None:
        if not self._is_streaming:
            return
        stats = self._paced.stop()
        self._is_streaming = False
        self._paced.log_stats(stats, self.info.carrier_call_id)
        self._context.finished.add(stats)

    def _close_peer(self) -> None:
        self._peer.close()
