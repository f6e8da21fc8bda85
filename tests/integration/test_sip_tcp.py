"""SIP over TCP with short-lived connections, like a Voice Connector's."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol

from chime_gateway.carriers.sip.transport.tls import client_tls, server_tls
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import SipSettings
from tests.integration.sip_harness import SipTestCase
from tests.support.certificates import self_signed
from tests.support.files import temporary_file
from tests.support.sdp_offers import KEY30

SDP = (
    "v=0\r\no=- 1 1 IN {kind} {host}\r\ns=-\r\nc=IN {kind} {host}\r\nt=0 0\r\n"
    "m=audio 36488 {media}\r\n"
)


class Line(Protocol):
    def __init__(self) -> None:
        self.text = ""
        self.is_open = False

    def connectionMade(self) -> None:
        self.is_open = True

    def dataReceived(self, data: bytes) -> None:
        self.text += data.decode()

    def connectionLost(self, reason: Any = None) -> None:
        self.is_open = False


class ConnectionTests(SipTestCase):
    transports = ("tcp",)
    media = "RTP/AVP 0"

    def way(self, endpoint: Any) -> Any:
        return endpoint

    def listen(self, factory: Any) -> Any:
        return self.reactor.listenTCP(0, factory, interface=self.host)

    async def line(self) -> Line:
        (port,) = self.sip_ports.values()
        endpoint = self.way(HostnameEndpoint(self.reactor, self.host, port))
        line = await endpoint.connect(Factory.forProtocol(Line))
        assert isinstance(line, Line)
        return line

    def say(
        self, line: Line, method: str, cseq: int, to_tag: str = "", body: str = ""
    ) -> None:
        tag = f";tag={to_tag}" if to_tag else ""
        host = self.uri_host
        text = (
            f"{method} sip:desk@{host} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.transports[0].upper()} {host}:{self.contact}"
            f";branch=z9hG4bK{method}{cseq}\r\n"
            f"From: <sip:a@{host}>;tag=t\r\nTo: <sip:desk@{host}>{tag}\r\n"
            f"Call-ID: c\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:a@{host}:{self.contact};transport={self.transports[0]}>\r\n"
            "Content-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        assert line.transport is not None
        line.transport.write(text.encode())

    async def established(self, line: Line) -> str:
        factory: Any = Factory.forProtocol(Line)
        self.came: list[Line] = []
        build = factory.buildProtocol

        def remember(address: Any) -> Any:
            protocol = build(address)
            self.came.append(protocol)
            return protocol

        factory.buildProtocol = remember
        port = self.listen(factory)
        self.addCleanup(port.stopListening)
        self.contact = port.getHost().port
        kind = "IP6" if ":" in self.host else "IP4"
        sdp = SDP.format(kind=kind, host=self.host, media=self.media)
        self.say(line, "INVITE", 1, body=sdp)
        await self.until(lambda: "SIP/2.0 200" in line.text)
        answer = line.text.partition("SIP/2.0 200")[2]
        return answer.partition("To: ")[2].partition(";tag=")[2].partition("\r\n")[0]

    async def test_a_dialog_goes_on_over_a_new_connection(self) -> None:
        first = await self.line()
        tag = await self.established(first)
        assert first.transport is not None
        first.transport.loseConnection()
        await self.until(lambda: not first.is_open)
        second = await self.line()
        self.say(second, "ACK", 1, tag)
        await self.pause(0.1)
        self.say(second, "BYE", 2, tag)
        await self.until(lambda: "SIP/2.0 200" in second.text)
        await self.until(self.nothing_is_left)
        assert second.transport is not None
        second.transport.loseConnection()

    async def test_a_bye_opens_a_connection_to_the_contact(self) -> None:
        line = await self.line()
        tag = await self.established(line)
        self.say(line, "ACK", 1, tag)
        await self.pause(0.1)
        assert line.transport is not None
        line.transport.loseConnection()
        await self.until(lambda: not line.is_open)
        await self.until(lambda: not self.carrier.counts()["connections"])
        for call in self.gateway.calls.calls():
            call.hang_up(Ending(Outcome.TIME_LIMIT, "over"))
        await self.until(lambda: self.came and "BYE " in self.came[0].text)
        self.assertIn(f"sip:a@{self.uri_host}:{self.contact}", self.came[0].text)
        transport: Any = self.came[0].transport
        transport.loseConnection()

    async def test_garbage_on_one_connection_does_not_affect_a_call(self) -> None:
        line = await self.line()
        tag = await self.established(line)
        self.say(line, "ACK", 1, tag)
        other = await self.line()
        assert other.transport is not None
        other.transport.write(b"INVITE nonsense\r\nContent-Length: -5\r\n\r\n")
        await self.until(lambda: not other.is_open)
        self.say(line, "OPTIONS", 2, tag)
        await self.until(lambda: "2 OPTIONS" in line.text)
        self.say(line, "BYE", 3, tag)
        await self.until(self.nothing_is_left)
        assert line.transport is not None
        line.transport.loseConnection()


class TlsConnectionTests(ConnectionTests):
    """The same over TLS, to an IP address, without a name to check."""

    transports = ("tls",)
    media = f"RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY30}"

    def way(self, endpoint: Any) -> Any:
        return wrapClientTLS(client_tls(self.host), endpoint)

    def listen(self, factory: Any) -> Any:
        path = temporary_file(self, self_signed())
        tls = server_tls(SipSettings(certificate=path))
        return self.reactor.listenSSL(0, factory, tls, interface=self.host)
