"""
Simulates a WebRTC caller: one call, from its offer to its end.

It tests the gateway's WebRTC carrier from outside, with its own ICE and RTP.  It is
sans I/O.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping
from typing import Final

from attrs import field, frozen
from pylibsrtp import Error, Policy, Session
from twisted.internet.interfaces import IReactorTime

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.net.timer import Timer
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter, SimulatedCaller
from chime_gateway.sim.caller.rtp_keys import RtpKeys
from chime_gateway.sim.caller.rtp_playout import RtpPlayout
from chime_gateway.sim.caller.webrtc.checks import Address, Checks
from chime_gateway.sim.realtime.webrtc.dtls import Certificate, DtlsClient, Keys

PAYLOAD_TYPES: Final[Mapping[str, int]] = {PCMU.name: 0, PCMA.name: 8}
_RTP: Final = struct.Struct("!BBHII")

#: The time allowed from the answer to the end of the DTLS handshake.
_CONNECT_SECONDS: Final = 15.0


class BadAnswer(Exception):
    """The answer cannot be used for a call."""


@frozen
class Answer:
    """
    The parts of an SDP answer that a caller needs.

    @ivar places: the addresses of its UDP candidates, best first.
    """

    ufrag: str
    password: str = field(repr=False)
    fingerprint: bytes
    places: tuple[Address, ...]

    @classmethod
    def of_text(cls, text: str) -> Answer:
        """
        @raise BadAnswer: something is missing or not supported.
        """
        found: dict[str, str] = {}
        places: list[tuple[int, Address]] = []
        for line in text.splitlines():
            name, _, value = line.removeprefix("a=").partition(":")
            found.setdefault(name, value)
            words = value.split()
            if name == "candidate" and words[2].lower() == "udp":
                places.append((-int(words[3]), (words[4], int(words[5]))))
        try:
            if found["setup"] != "passive":
                raise BadAnswer(f"setup:{found['setup']} instead of setup:passive")
            name, _, digits = found["fingerprint"].partition(" ")
            if name.lower() != "sha-256":
                raise BadAnswer(f"unsupported fingerprint hash {name}")
            return cls(
                found["ice-ufrag"],
                found["ice-pwd"],
                bytes.fromhex(digits.replace(":", "")),
                tuple(place for _, place in sorted(places)),
            )
        except KeyError as exc:
            raise BadAnswer(f"{exc} is missing") from exc


class WebRtcCall:
    """
    One call from a WebRTC application.

    @param send: sends a datagram to the gateway.
    @param delete: ends the call over HTTP; then calls L{deleted} with the result.
    @param finished: called with the report when the call is over.
    """

    says_clear = False

    def __init__(
        self,
        plan: CallPlan,
        codec: Codec,
        clock: IReactorTime,
        *,
        local: Address,
        send: Callable[[bytes, Address], None],
        delete: Callable[[], None],
        meter: Meter | None,
        finished: Callable[[CallReport], None],
    ) -> None:
        self._codec = codec
        self._clock = clock
        self._local = local
        self._send = send
        self._delete = delete
        self._finished = finished
        self._certificate = Certificate.new()
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(12)
        self._state = "calling"
        self._overdue = Timer(clock)
        self._checks: Checks | None = None
        self._dtls: DtlsClient | None = None
        self._place: Address = ("", 0)
        self._protect: Callable[[bytes], bytes] | None = None
        self._unprotect: Callable[[bytes], bytes] | None = None
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(15)
        self._timestamp = secrets.randbits(32)
        self._payload_type = PAYLOAD_TYPES[codec.name]
        self._keys = RtpKeys(self._send_packet)
        self.playout = RtpPlayout(codec, clock)
        self.caller = SimulatedCaller(plan, codec, clock, self, meter)

    # -- signalling ------------------------------------------------------------------

    def offer(self) -> bytes:
        host, port = self._local
        address = f"IN {'IP6' if ':' in host else 'IP4'} {host}"
        number = self._payload_type
        lines = (
            *("v=0", f"o=- 1 1 {address}", "s=-", "t=0 0", "a=group:BUNDLE 0"),
            f"m=audio {port} UDP/TLS/RTP/SAVPF {number} 101",
            f"c={address}",
            *("a=mid:0", "a=sendrecv", "a=rtcp-mux", "a=setup:actpass", "a=ptime:20"),
            f"a=rtpmap:{number} {self._codec.name}/8000",
            "a=rtpmap:101 telephone-event/8000",
            f"a=ice-ufrag:{self._ufrag}",
            f"a=ice-pwd:{self._password}",
            f"a=fingerprint:sha-256 {self._certificate.fingerprint.hex(':')}",
            f"a=ssrc:{self._ssrc} cname:caller",
            f"a=candidate:1 1 udp 2130706431 {host} {port} typ host",
            "a=end-of-candidates",
        )
        return "".join(f"{line}\r\n" for line in lines).encode()

    def answered(self, text: str) -> None:
        if self._state != "calling":
            return
        try:
            answer = Answer.of_text(text)
        except BadAnswer as exc:
            self._over(0, f"the answer: {exc}")
            return
        self._state = "connecting"
        self._overdue.start(_CONNECT_SECONDS, self._over, 0, "could not connect")
        self._dtls = DtlsClient(
            self._certificate,
            answer.fingerprint,
            send=lambda data: self._send(data, self._place),
            connected=self._connected,
            closed=self._closed,
            clock=self._clock,
        )
        self._checks = Checks(
            self._clock,
            ufrag=self._ufrag,
            remote_ufrag=answer.ufrag,
            remote_password=answer.password,
            places=[
                place
                for place in answer.places
                if (":" in place[0]) == (":" in self._local[0])
            ],
            send=self._send,
            found=self._found,
            lost=lambda: self._over(0, "the gateway no longer answers consent checks"),
        )
        self._checks.start()

    def refused(self, status: int, why: str) -> None:
        """The gateway refused the offer."""
        self._over(status, why)

    def deleted(self, why: str) -> None:
        """
        The request to end the call has finished.

        @param why: why it failed; empty if it succeeded.
        """
        self._over(200, why or "the caller hung up")

    # -- Line ------------------------------------------------------------------------

    def begin(self) -> None:
        """Do nothing: the DTLS handshake has connected the call."""

    def send_frame(self, frame: bytes, number: int) -> None:
        if not self._keys.sent(self._timestamp, len(frame)):
            self._send_packet(number == 1, self._payload_type, self._timestamp, frame)
        self._timestamp = (self._timestamp + len(frame)) & 0xFFFFFFFF

    def _send_packet(
        self, has_marker: bool, payload_type: int, timestamp: int, payload: bytes
    ) -> None:
        second = payload_type | (0x80 if has_marker else 0)
        header = _RTP.pack(0x80, second, self._sequence, timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        if self._protect is not None:
            self._send(self._protect(header + payload), self._place)

    def press(self, digit: str) -> None:
        self._keys.press(digit)

    def hang_up(self) -> None:
        if self._state in ("connecting", "talking"):
            self._state = "leaving"
            self._delete()
        elif self._state == "calling":
            self._over(0, "the caller gave up")

    # -- the other side --------------------------------------------------------------

    def received(self, data: bytes, address: Address) -> None:
        if not data or self._checks is None or self._dtls is None:
            return
        if data[0] < 4:
            self._checks.received(data, address)
        elif address != self._place:
            return
        elif 20 <= data[0] < 64:
            self._dtls.received(data)
        elif self._unprotect is not None and not 192 <= data[1] <= 223:
            self._rtp_received(data, self._unprotect)

    def _found(self, place: Address) -> None:
        self._place = place
        assert self._dtls is not None
        self._dtls.start()

    def _connected(self, keys: Keys) -> None:
        self._overdue.stop()
        profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        out, coming = Policy.SSRC_ANY_OUTBOUND, Policy.SSRC_ANY_INBOUND
        self._protect = Session(Policy(keys.local, out, srtp_profile=profile)).protect
        session = Session(Policy(keys.remote, coming, srtp_profile=profile))
        self._unprotect = session.unprotect
        if self._state == "connecting":
            self._state = "talking"
            self.caller.start()

    def _closed(self, why: str) -> None:
        if why != "close_notify":
            self._over(0, why)
        elif self._state != "leaving":
            self._over(200, "the gateway hung up")

    def _rtp_received(self, data: bytes, unprotect: Callable[[bytes], bytes]) -> None:
        try:
            packet = unprotect(data)
        except (Error, ValueError):
            return
        _, second, _, timestamp, _ = _RTP.unpack_from(packet)
        if second & 0x7F != self._payload_type or self._state != "talking":
            return
        payload = packet[_RTP.size :]
        is_speech = self.playout.receive(timestamp, second > 0x7F, payload)
        self.caller.audio_came(len(payload), is_speech)

    def _over(self, code: int, reason: str) -> None:
        if self._state == "over":
            return
        was_connected = self._protect is not None
        self._state = "over"
        self._overdue.stop()
        if self._checks is not None:
            self._checks.stop()
        if self._dtls is not None:
            self._dtls.close()
        report = self.caller.stop() if was_connected else CallReport(self._codec)
        report.close_code, report.close_reason = code, reason
        if not was_connected:
            report.error = f"{code} {reason}" if code else reason
        self._finished(report)
