"""
Simulates a telephone over SIP and RTP: one call, from its INVITE to its BYE.

It tests the gateway's SIP carrier from outside: it uses C{sipmessage} only, and none
of the gateway's own SIP or RTP code.  It is sans I/O.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping
from typing import Final

from sipmessage import URI, Message, Request, Response
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter, SimulatedCaller
from chime_gateway.sim.caller.rtp_keys import RtpKeys
from chime_gateway.sim.caller.rtp_playout import RtpPlayout

PAYLOAD_TYPES: Final[Mapping[str, int]] = {PCMU.name: 0, PCMA.name: 8}
_RTP: Final = struct.Struct("!BBHII")

#: Timer T1 (RFC 3261 section 17.1.1.1): retransmission over UDP begins after it, and
#: ends after 64 * T1.
_T1_SECONDS: Final = 0.5


class SipCall:
    """
    One call from a softphone: INVITE, audio, BYE.

    @param send: sends a message to the gateway.
    @param finished: called with the report when the call is over.
    """

    says_clear = False

    def __init__(
        self,
        uri: URI,
        plan: CallPlan,
        codec: Codec,
        clock: IReactorTime,
        *,
        transport: str,
        local: tuple[str, int],
        rtp_port: int,
        send: Callable[[bytes], None],
        send_rtp: Callable[[bytes, tuple[str, int]], None],
        meter: Meter | None,
        finished: Callable[[CallReport], None],
    ) -> None:
        self._uri = uri
        self._plan = plan
        self._codec = codec
        self._clock = clock
        self._transport = transport
        self._local = local
        self._rtp_port = rtp_port
        self._send = send
        self._send_rtp = send_rtp
        self._finished = finished
        self._call_id = secrets.token_hex(8)
        self._tag = secrets.token_hex(4)
        self._cseq = 0
        self._branch = ""
        self._remote = f"<{uri}>"
        self._target = str(uri)
        self._routes: list[str] = []
        self._again: IDelayedCall | None = None
        self._waited = 0.0
        self._state = "calling"
        self._media: tuple[str, int] = ("", 0)
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._payload_type = PAYLOAD_TYPES[codec.name]
        self._keys = RtpKeys(self._send_packet)
        self.playout = RtpPlayout(codec, clock)
        self.caller = SimulatedCaller(plan, codec, clock, self, meter)

    # -- Line ------------------------------------------------------------------------

    def begin(self) -> None:
        """Do nothing: the 200 has connected the call."""

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
        self._send_rtp(header + payload, self._media)

    def press(self, digit: str) -> None:
        self._keys.press(digit)

    def hang_up(self) -> None:
        if self._state == "calling":
            # A 200 may still be on its way (RFC 3261 section 15).
            self._state = "giving up"
            self._send(bytes(self._new("CANCEL", b"")))
        elif self._state == "talking":
            self._state = "leaving"
            self._request("BYE")

    # -- signalling ------------------------------------------------------------------

    def invite(self) -> None:
        host, _ = self._local
        address = f"IN {'IP6' if ':' in host else 'IP4'} {host}"
        body = (
            f"v=0\r\no=- 1 1 {address}\r\ns=-\r\nc={address}\r\nt=0 0\r\n"
            f"m=audio {self._rtp_port} RTP/AVP {self._payload_type} 101\r\n"
            f"a=rtpmap:{self._payload_type} {self._codec.name}/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
            "a=ptime:20\r\na=sendrecv\r\n"
        ).encode()
        self._request("INVITE", body)

    def _request(self, method: str, body: bytes = b"") -> None:
        if method != "ACK":
            self._cseq += 1
        self._branch = f"z9hG4bK{secrets.token_hex(8)}"
        request = self._new(method, body)
        self._transmit(bytes(request), repeats=method != "ACK")

    def _new(self, method: str, body: bytes) -> Request:
        host, port = self._local
        host = f"[{host}]" if ":" in host else host
        at = f"{host}:{port};transport={self._transport}"
        request = Request(method, URI.parse(self._target), body)
        headers = request.headers
        via = f"SIP/2.0/{self._transport.upper()} {host}:{port}"
        headers.add("Via", f"{via};branch={self._branch};rport")
        for route in self._routes:
            headers.add("Route", route)
        headers.add("Max-Forwards", "70")
        headers.add("From", f"<sip:caller@{host}>;tag={self._tag}")
        headers.add("To", self._remote)
        headers.add("Call-ID", self._call_id)
        headers.add("CSeq", f"{self._cseq} {method}")
        headers.add("Contact", f"<sip:caller@{at}>")
        if method == "INVITE":
            for name, value in self._plan.parameters.items():
                headers.add("X-Agent" if name == "agent" else name, value)
        if body:
            headers.add("Content-Type", "application/sdp")
        headers.add("Content-Length", str(len(body)))
        return request

    def _transmit(self, data: bytes, *, repeats: bool) -> None:
        self._stop_repeating()
        self._waited = 0.0
        self._send(data)
        if repeats:
            self._again = self._clock.callLater(
                _T1_SECONDS, self._retransmit, data, _T1_SECONDS
            )

    def _retransmit(self, data: bytes, interval: float) -> None:
        self._again = None
        self._waited += interval
        if self._waited >= 64 * _T1_SECONDS:
            self._over(408, "the gateway does not answer")
            return
        if self._transport == "udp":
            self._send(data)
        interval = min(2 * interval, 4.0)
        self._again = self._clock.callLater(interval, self._retransmit, data, interval)

    def _stop_repeating(self) -> None:
        again, self._again = self._again, None
        if again is not None and again.active():
            again.cancel()

    def message_received(self, data: bytes) -> None:
        try:
            message = Message.parse(data)
        except ValueError:
            return
        if isinstance(message, Response):
            self._answered(message)
        else:
            self._asked(message)

    def _answered(self, response: Response) -> None:
        method = response.cseq.method
        if method == "BYE":
            self._over(200, "the caller hung up")
        elif method != "INVITE":
            return
        elif response.code < 200:
            self._stop_repeating()
        elif response.code >= 300:
            self._remote = response.headers["To"]
            self._send(bytes(self._new("ACK", b"")))
            self._over(response.code, response.phrase)
        else:
            self._remote = response.headers["To"]
            self._target = str(response.contact[0].uri)
            self._routes = response.headers.getlist("Record-Route")[::-1]
            self._request("ACK")
            if self._state == "calling":
                self._state = "talking"
                self._find_media(response.body.decode())
                self.caller.start()
            elif self._state == "giving up":
                self._state = "leaving"
                self._request("BYE")

    def _find_media(self, body: str) -> None:
        host, port = "", 0
        for line in body.splitlines():
            if line.startswith("c="):
                host = line.split()[2]
            elif line.startswith("m=audio"):
                port = int(line.split()[1])
        self._media = (host, port)

    def _asked(self, request: Request) -> None:
        response = Response(200, "OK")
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            for value in request.headers.getlist(name):
                response.headers.add(name, value)
        response.headers.add("Content-Length", "0")
        if request.method == "ACK":
            return
        self._send(bytes(response))
        if request.method == "BYE":
            reason = request.headers.get("Reason") or "the gateway hung up"
            self._over(200, reason)

    def _over(self, code: int, reason: str) -> None:
        if self._state == "over":
            return
        was_connected = self._state not in ("calling", "giving up")
        self._state = "over"
        self._stop_repeating()
        report = self.caller.stop() if was_connected else CallReport(self._codec)
        report.close_code, report.close_reason = code, reason
        if not was_connected:
            report.error = f"{code} {reason}"
        self._finished(report)

    def line_lost(self) -> None:
        """The connection broke."""
        self._over(503, "the connection broke")

    # -- media -------------------------------------------------------------------------

    def rtp_received(self, data: bytes) -> None:
        if len(data) < 12 or self._state != "talking":
            return
        _, second, _, timestamp, _ = _RTP.unpack_from(data)
        if second & 0x7F != self._payload_type:
            return
        payload = data[12:]
        is_speech = self.playout.receive(timestamp, second > 0x7F, payload)
        self.caller.audio_came(len(payload), is_speech)
