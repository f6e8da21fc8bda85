"""A minimal softphone over UDP and TCP: the sockets of a L{SipCall}."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from sipmessage import URI
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure

from chime_gateway.audio import Codec
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter
from chime_gateway.sim.caller.sip_line import PAYLOAD_TYPES, SipCall


class _Datagrams(DatagramProtocol):
    noisy = False

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        self._received(datagram)


class _Stream(Protocol):
    """SIP over TCP: splits the stream into messages by Content-Length."""

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


def place_sip_call(
    url: str,
    plan: CallPlan,
    codec: Codec,
    *,
    reactor: Any,
    meter: Meter | None = None,
) -> Deferred[CallReport]:
    """
    Call C{sip:USER@HOST:PORT;transport=udp} and follow C{plan}.

    @return: fires with the report when the call is over, even if it failed;
        C{report.error} says why there was no call.  Cancelling hangs up.
    """
    done: Deferred[CallReport] = Deferred(lambda _: call.hang_up())
    try:
        uri = URI.parse(url)
    except ValueError as exc:
        done.callback(CallReport(codec, error=str(exc)))
        return done
    if codec.name not in PAYLOAD_TYPES:
        error = f"this softphone does not support {codec.name} over RTP"
        done.callback(CallReport(codec, error=error))
        return done
    transport = (uri.parameters.get("transport") or "udp").lower()
    host, port = uri.host.strip("[]"), uri.port or 5060
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
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
