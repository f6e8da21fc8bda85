"""
A line over SIP and RTP: a softphone with one button, for UDP and TCP.

The other side of the gateway's SIP carrier, on C{sipmessage} alone; it takes
nothing from the gateway's own SIP or RTP.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from sipmessage import URI, Message, Request, Response
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter, SimulatedCaller

_PAYLOAD_TYPES: Final[Mapping[str, int]] = {PCMU.name: 0, PCMA.name: 8}
_RTP: Final = struct.Struct("!BBHII")

#: Retransmission over UDP begins after so long and gives up after 64 of it.
_T1_SECONDS: Final = 0.5


class RtpPlayout:
    """
    What came, each packet where its timestamp says: the stream is continuous,
    so the sound of it needs no clock.

    @ivar speech_bytes: of the agent's speech since its first packet, which has
        the marker bit.
    """

    def __init__(self, codec: Codec, clock: IReactorTime) -> None:
        self.heard = bytearray()
        self.speech_bytes = 0
        self._codec = codec
        self._clock = clock
        self._began = clock.seconds()
        self._base: int | None = None
        self._speech_from = 0
        self._spoke_at = self._began

    def receive(self, timestamp: int, marker: bool, payload: bytes) -> bool:
        """@return: whether it is more than silence."""
        codec = self._codec
        now = self._clock.seconds()
        if self._base is None:
            # What passed before the first packet was silence.
            passed = int((now - self._began) * codec.clock_rate)
            self._base = timestamp - passed
        at = (timestamp - self._base) & 0xFFFFFFFF
        if at > len(self.heard) + codec.bytes_per_second * 60:
            return False
        if at > len(self.heard):
            self.heard += codec.silence(at - len(self.heard))
        self.heard[at : at + len(payload)] = payload
        if marker:
            self._speech_from = at
            self.speech_bytes = 0
        is_speech = bool(payload.strip(codec.silence_byte))
        if is_speech:
            self._spoke_at = now
            self.speech_bytes = at + len(payload) - self._speech_from
        return is_speech

    @property
    def is_playing(self) -> bool:
        return self.quiet_seconds() < 0.1

    def quiet_seconds(self) -> float:
        return self._clock.seconds() - self._spoke_at

    def advance(self) -> None:
        """Time changes nothing."""

    def stop(self) -> None:
        """There is nothing to stop."""


class _Datagrams(DatagramProtocol):
    noisy = False

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._received(datagram)


class _Stream(Protocol):
    """SIP over TCP: whole messages by Content-Length."""

    transport: Any

    def __init__(
        self, received: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        self._received = received
        self._lost = lost
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.strip().lower() in (b"content-length", b"l"):
                    length = int(value)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._received(head + b"\r\n\r\n" + rest[:length])

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._lost()


class SipCall:
    """
    One call from a softphone: INVITE, talk, BYE.

    @param send: a message to the gateway.
    @param finished: told the report when it is over.
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
        self._payload_type = _PAYLOAD_TYPES[codec.name]
        self.playout = RtpPlayout(codec, clock)
        self.caller = SimulatedCaller(plan, codec, clock, self, meter)

    # -- Line ------------------------------------------------------------------------

    def begin(self) -> None:
        """It was connected by the 200."""

    def send_frame(self, frame: bytes, number: int) -> None:
        header = _RTP.pack(
            0x80,
            self._payload_type | (0x80 if number == 1 else 0),
            self._sequence,
            self._timestamp,
            self._ssrc,
        )
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + len(frame)) & 0xFFFFFFFF
        self._send_rtp(header + frame, self._media)

    def hang_up(self) -> None:
        if self._state == "calling":
            # A 200 may be on its way all the same (RFC 3261 section 15).
            self._state = "giving up"
            self._send(bytes(self._new("CANCEL", b"")))
        elif self._state == "talking":
            self._state = "leaving"
            self._request("BYE")

    # -- signalling ------------------------------------------------------------------

    def invite(self) -> None:
        host, _ = self._local
        body = (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
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


def place_sip_call(
    url: str,
    plan: CallPlan,
    codec: Codec,
    *,
    reactor: Any,
    meter: Meter | None = None,
) -> Deferred[CallReport]:
    """
    Dial C{sip:USER@HOST:PORT;transport=udp} and act out C{plan}.

    @return: fires with the report when the call is over, however it went;
        C{report.error} says why there was none.  Cancelling hangs up.
    """
    done: Deferred[CallReport] = Deferred(lambda _: call.hang_up())
    try:
        uri = URI.parse(url)
    except ValueError as exc:
        done.callback(CallReport(codec, error=str(exc)))
        return done
    if codec.name not in _PAYLOAD_TYPES:
        done.callback(CallReport(codec, error=f"RTP carries no {codec.name} here"))
        return done
    transport = (uri.parameters.get("transport") or "udp").lower()
    host, port = uri.host, uri.port or 5060
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        local_host = probe.getsockname()[0]
    ports: list[Any] = []
    stream: _Stream | None = None

    def finished(report: CallReport) -> None:
        for one in ports:
            one.stopListening()
        if stream is not None and stream.transport is not None:
            stream.transport.loseConnection()
        if not done.called:
            done.callback(report)

    rtp = _Datagrams(lambda data: call.rtp_received(data))
    ports.append(reactor.listenUDP(0, rtp, interface=local_host))

    def send_rtp(packet: bytes, address: tuple[str, int]) -> None:
        if rtp.transport is not None:
            rtp.transport.write(packet, address)

    def new_call(local_port: int, send: Callable[[bytes], None]) -> SipCall:
        return SipCall(
            uri,
            plan,
            codec,
            reactor,
            transport=transport,
            local=(local_host, local_port),
            rtp_port=ports[0].getHost().port,
            send=send,
            send_rtp=send_rtp,
            meter=meter,
            finished=finished,
        )

    call: SipCall
    if transport == "udp":
        signalling = _Datagrams(lambda data: call.message_received(data))
        port_object = reactor.listenUDP(0, signalling, interface=local_host)
        ports.append(port_object)

        def send(data: bytes) -> None:
            if signalling.transport is not None:
                signalling.transport.write(data, (host, port))

        call = new_call(port_object.getHost().port, send)
        call.invite()
    else:
        stream = _Stream(
            lambda data: call.message_received(data), lambda: call.line_lost()
        )

        def connected(protocol: Any) -> None:
            nonlocal call
            local = protocol.transport.getHost().port
            call = new_call(local, protocol.transport.write)
            call.invite()

        def failed(failure: Failure) -> None:
            finished(CallReport(codec, error=failure.getErrorMessage()))

        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: stream  # type: ignore[method-assign]
        endpoint = HostnameEndpoint(reactor, host, port)
        endpoint.connect(factory).addCallbacks(connected, failed)
    return done
