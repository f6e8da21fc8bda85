"""
One call over WebRTC: its session, its media, and its sidebands.

The media starts in the order ICE, DTLS, RTP, and ends as soon as one of them ends.
Sidebands may connect and disconnect during the call.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.sim.realtime.events import new_id
from chime_gateway.sim.realtime.faults.webrtc import WebRtcFaults
from chime_gateway.sim.realtime.session import SimulatedSession
from chime_gateway.sim.realtime.webrtc.dtls import Certificate, DtlsClient, Keys
from chime_gateway.sim.realtime.webrtc.ice import CONSENT_SECONDS, IceLite, Path
from chime_gateway.sim.realtime.webrtc.pace import Pace
from chime_gateway.sim.realtime.webrtc.ports import HOST, Ports
from chime_gateway.sim.realtime.webrtc.rtp import RtpReceiver, RtpSender
from chime_gateway.sim.realtime.webrtc.sdp import Offer, format_answer
from chime_gateway.sim.realtime.webrtc.stun import BindingRequest

#: The time after which a call without connected media ends.
CONNECT_SECONDS: Final = 30.0

#: The number of packets between sender reports; equals five seconds.
REPORT_BEATS: Final = 250

#: The priorities of host candidates (RFC 8445 section 5.1.2.1), UDP before TCP.
_UDP_PRIORITY, _TCP_PRIORITY = 2130706431, 1671430143


class Sideband(Protocol):
    """A WebSocket with the events of a call."""

    def send_event(self, event: Mapping[str, object]) -> None: ...

    def end(self, code: int, reason: str) -> None: ...

    def freeze(self) -> None: ...


class WebRtcCall:
    """
    One call.

    @ivar id: the call's id, as in C{Location}.
    @ivar session: set directly after construction.
    @ivar refused: the number of refused sideband attempts.
    @ivar ended: why the call is over; empty while it is in progress.
    @ivar is_connected: the media is connected.
    """

    session: SimulatedSession

    def __init__(
        self,
        offer: Offer,
        faults: WebRtcFaults,
        certificate: Certificate,
        *,
        ports: Ports,
        pace: Pace,
        clock: IReactorTime,
        forget: Callable[[WebRtcCall], None],
    ) -> None:
        self.id = new_id("rtc", 24)
        # A user fragment may contain / and + (RFC 8839 section 5.4).
        self.ufrag = f"{secrets.token_hex(4)}/+"
        self.faults = faults
        self.udp_is_blocked = faults.udp_blocked
        self.refused = 0
        self.ended = ""
        self.is_connected = False
        self._offer = offer
        self._password = secrets.token_hex(16)
        self._certificate = certificate
        self._ports = ports
        self._pace = pace
        self._clock = clock
        self._forget = forget
        self._ice = IceLite(
            self.ufrag,
            self._password,
            offer.ufrag,
            is_strict=not faults.lenient_consent,
        )
        self._dtls: DtlsClient | None = None
        self._sender: RtpSender | None = None
        self.receiver: RtpReceiver | None = None
        self._losses = random.Random(f"{faults.dtls_seed} {faults.dtls_loss}")
        self._sidebands: list[Sideband] = []
        self._has_started = False
        self._is_silent = False
        self._beats = 0
        self._timers: list[IDelayedCall] = []
        self._later(CONNECT_SECONDS, self._look_for_media)

    def answer(self) -> bytes:
        """Return the SDP answer."""
        udp, tcp = self._ports.numbers
        candidates = [f"1 1 udp {_UDP_PRIORITY} {HOST} {udp} typ host"]
        if not self.faults.no_tcp:
            candidates.append(
                f"2 1 tcp {_TCP_PRIORITY} {HOST} {tcp} typ host tcptype passive"
            )
        fingerprint = self._certificate.fingerprint
        if self.faults.wrong_fingerprint:
            fingerprint = bytes(byte ^ 0xFF for byte in fingerprint)
        return format_answer(
            self._offer,
            session_id=secrets.randbits(62),
            ufrag=self.ufrag,
            password=self._password,
            fingerprint=fingerprint,
            candidates=candidates,
            has_rtpmap=self.faults.rtpmap,
        )

    # -- events --------------------------------------------------------------------

    def is_open_to_sidebands(self) -> bool:
        """Return whether a sideband is accepted now; faults may refuse it."""
        if self.faults.no_sideband or self.refused < self.faults.sideband_refusals:
            self.refused += 1
            return False
        return True

    def attach(self, sideband: Sideband) -> None:
        if self._has_started:
            # Only the new sideband gets session.created; the others have it already.
            others, self._sidebands = self._sidebands, [sideband]
            self.session.greet()
            self._sidebands = [*others, sideband]
        else:
            self._has_started = True
            self._sidebands.append(sideband)
            self.session.start()

    def detach(self, sideband: Sideband) -> None:
        if sideband in self._sidebands:
            self._sidebands.remove(sideband)

    def send_event(self, event: Mapping[str, object]) -> None:
        for sideband in list(self._sidebands):
            sideband.send_event(event)

    def session_closed(self, code: int, reason: str) -> None:
        """The session was closed; codes 0 and 1006 break only the sidebands."""
        if code in (0, 1006):
            self._close_sidebands(code, reason)
        else:
            why = f"the service closed the session: {code} {reason}".rstrip()
            self.end(why, code, reason)

    def freeze(self) -> None:
        for sideband in list(self._sidebands):
            sideband.freeze()

    def _close_sidebands(self, code: int, reason: str) -> None:
        sidebands, self._sidebands = self._sidebands, []
        for sideband in sidebands:
            sideband.end(code, reason)

    # -- media, from ICE to RTP -------------------------------------------------------

    def checked(
        self, request: BindingRequest, path: Path, address: tuple[str, int]
    ) -> bytes | None:
        return self._ice.answer(self._clock.seconds(), request, path, address)

    def answered(self) -> None:
        if self._ice.selected is None or self._dtls is not None or self.ended:
            return
        self._note("path")
        self._dtls = DtlsClient(
            self._certificate,
            self._offer.fingerprint,
            send=self._send_dtls,
            connected=self._connected,
            closed=self.end,
            clock=self._clock,
            offers_srtp=not self.faults.no_srtp,
        )
        self._dtls.start()

    def _is_lost(self) -> bool:
        return self._losses.random() * 100.0 < self.faults.dtls_loss

    def _send_dtls(self, datagram: bytes) -> None:
        if not self._is_lost():
            self._send(datagram)

    def _send(self, data: bytes) -> None:
        path = self._ice.selected
        if path is not None:
            self._ports.send(data, path)

    def _connected(self, keys: Keys) -> None:
        codec, payload_type = self._offer.codec, self._offer.payload_type
        self._sender = RtpSender(codec, payload_type, keys)
        self.receiver = RtpReceiver(codec, payload_type, keys)
        self.is_connected = True
        self._note("connected")
        self._pace.join(self._beat)
        faults = self.faults
        for seconds, what in (
            (faults.close_notify, lambda: self.end("close_notify")),
            (faults.silence, self._fall_silent),
            (faults.consent_lost, self._go_deaf),
        ):
            if seconds is not None:
                self._later(seconds, what)
        self._later(CONSENT_SECONDS, self._look_for_consent)

    def received(self, data: bytes) -> None:
        first = data[0] if data else 0
        if 20 <= first < 64:
            if self._dtls is not None and not self._is_lost():
                self._dtls.received(data)
        elif 128 <= first < 192 and self.receiver is not None:
            if len(data) > 1 and 192 <= data[1] < 224:  # RFC 5761 section 4
                self.receiver.rtcp(data)
                return
            audio = self.receiver.audio(data)
            if audio:
                self.session.hear(audio)

    def _beat(self) -> None:
        """Send the packet of these 20 ms."""
        assert self._sender is not None and self.session.speech is not None
        frame = self.session.speech.next_frame()
        is_quiet = not frame and self.faults.rtp_pauses
        if self._is_silent or is_quiet or not self._offer.is_receiving:
            self._sender.pause()
            return
        self._beats += 1
        if self._beats % REPORT_BEATS == 0:
            self._send(self._sender.report(time.time()))
        codec = self._offer.codec
        self._send(self._sender.packet(frame or codec.silence(codec.frame_bytes)))

    def _fall_silent(self) -> None:
        self._is_silent = True
        self._note("silent")

    def _go_deaf(self) -> None:
        self._ice.is_deaf = True
        self._note("deaf")

    # -- the end ---------------------------------------------------------------------

    def _look_for_media(self) -> None:
        if not self.is_connected:
            self.end("the media did not connect")

    def _look_for_consent(self) -> None:
        since = self._clock.seconds() - (self._ice.answered_at or 0.0)
        if since >= CONSENT_SECONDS and not self._ice.is_deaf:
            self.end("consent was lost")
        else:
            self._later(max(0.1, CONSENT_SECONDS - since), self._look_for_consent)

    def end(self, why: str, code: int = 1000, reason: str = "") -> None:
        """End the call: its media and its sidebands."""
        if self.ended:
            return
        self.ended = why
        self._note("ended", why=why)
        self._pace.leave(self._beat)
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        if self._dtls is not None:
            self._dtls.close()
        self.session.stop()
        self._close_sidebands(code, reason)
        self._ports.forget(self, self._ice.paths)
        self._forget(self)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._clock.callLater(seconds, function))

    def _note(self, what: str, **members: object) -> None:
        now = self._clock.seconds()
        self.session.log.note(now, "media", state=what, **members)
