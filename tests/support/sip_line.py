"""
Many SIP callers in one program, over real sockets: they retransmit until there is an
answer, and acknowledge it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import LoopingCall

from chime_gateway.carriers.sip.transport.tls import client_tls

HOST = "127.0.0.1"

SDP = (
    f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
    "m=audio 36488 RTP/AVP 0\r\n"
)

#: The first retransmission interval, T1 of RFC 3261.
AGAIN_SECONDS = 0.5


class _Stream(Protocol):
    transport: Any

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._text = ""
        self.is_open = False

    def connectionMade(self) -> None:
        self.is_open = True

    def connectionLost(self, reason: Any = None) -> None:
        self.is_open = False

    def dataReceived(self, data: bytes) -> None:
        self._text += data.decode()
        while (end := self._text.find("\r\n\r\n")) >= 0:
            found = re.search(r"^Content-Length: *(\d+)", self._text[:end], re.M)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._text) < size:
                return
            message, self._text = self._text[:size], self._text[size:]
            self._heard(message)


class _Datagrams(DatagramProtocol):
    transport: Any

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._heard(datagram.decode())


class SipLine:
    """
    One socket or connection that many calls use.

    @param name: makes its Call-IDs unique.
    """

    def __init__(self, reactor: Any, transport: str, port: int, name: str) -> None:
        self._reactor = reactor
        self._transport = transport
        self._port = port
        self._name = name
        self._socket: Any = None
        self._asked: dict[tuple[str, str], Deferred[tuple[int, str]]] = {}
        self._acks: dict[tuple[str, str], str] = {}
        self._tags: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    async def open(self) -> SipLine:
        if self._transport == "udp":
            self._socket = _Datagrams(self._heard)
            self._listening = self._reactor.listenUDP(0, self._socket, interface=HOST)
            return self
        endpoint: Any = HostnameEndpoint(self._reactor, HOST, self._port)
        if self._transport == "tls":
            endpoint = wrapClientTLS(client_tls(HOST), endpoint)
        factory: Any = Factory()
        factory.buildProtocol = lambda _: _Stream(self._heard)
        self._socket = await endpoint.connect(factory)
        return self

    def close(self) -> Any:
        if self._transport == "udp":
            return self._listening.stopListening()
        self._socket.transport.abortConnection()

    @property
    def is_open(self) -> bool:
        return self._transport == "udp" or bool(self._socket.is_open)

    # -- calls ---------------------------------------------------------------------

    async def call(self, name: str) -> int:
        """@return: the answer to the INVITE; a 2xx has been acknowledged."""
        return await self._ask(name, "INVITE", SDP)

    async def invite_again(self, name: str) -> int:
        return await self._ask(name, "INVITE", SDP)

    async def hang_up(self, name: str) -> int:
        return await self._ask(name, "BYE")

    async def options(self, name: str) -> tuple[int, str]:
        """@return: the answer, and the tag of the process that has answered."""
        status = await self._ask(name, "OPTIONS")
        return status, self._tags.pop(self._id(name))

    def tag(self, name: str) -> str:
        """Return the gateway's tag, which says which process has the call."""
        return self._tags[self._id(name)]

    def _id(self, name: str) -> str:
        return f"{self._name}-{name}"

    def _text(self, call_id: str, method: str, number: int, body: str = "") -> str:
        tag = f";tag={self._tags[call_id]}" if call_id in self._tags else ""
        via = self._transport.upper()
        asked = "INVITE" if method == "ACK" else method
        branch = f"z9hG4bK{call_id}-{asked}{number}"
        if method == "ACK":
            branch += "a"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} sip:desk@{HOST}:{self._port} SIP/2.0\r\n"
            f"Via: SIP/2.0/{via} {HOST}:5999;branch={branch};rport\r\n"
            f"From: <sip:a@{HOST}>;tag=t{call_id}\r\nTo: <sip:desk@{HOST}>{tag}\r\n"
            f"Call-ID: {call_id}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:a@{HOST}:5999;transport={self._transport}>\r\n"
            f"{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )

    async def _ask(self, name: str, method: str, body: str = "") -> int:
        call_id = self._id(name)
        number = self._numbers[call_id] = self._numbers.get(call_id, 0) + 1
        text = self._text(call_id, method, number, body)
        answered: Deferred[tuple[int, str]] = Deferred()
        self._asked[call_id, f"{number} {method}"] = answered
        again = LoopingCall(self._say, text)
        again.clock = self._reactor
        if self._transport == "udp":
            again.start(AGAIN_SECONDS)
        else:
            self._say(text)
        try:
            status, tag = await answered
        finally:
            if again.running:
                again.stop()
        if status < 300 or method == "OPTIONS":
            self._tags.setdefault(call_id, tag)
        if status < 300 and method == "INVITE":
            ack = self._text(call_id, "ACK", number)
            self._acks[call_id, f"{number} INVITE"] = ack
            self._say(ack)
        return status

    def _say(self, text: str) -> None:
        if self._transport == "udp":
            self._socket.transport.write(text.encode(), (HOST, self._port))
        else:
            self._socket.transport.write(text.encode())

    def _heard(self, text: str) -> None:
        found = re.match(r"SIP/2\.0 ([2-6]\d\d) ", text)
        if found is None:
            return
        call_id, cseq, tag = (
            (re.search(rf"^{name} *(.*?)\r$", text, re.M) or ["", ""])[1]
            for name in ("Call-ID:", "CSeq:", "To:.*;tag=")
        )
        asked = self._asked.pop((call_id, cseq), None)
        if asked is not None:
            asked.callback((int(found[1]), tag))
        elif (call_id, cseq) in self._acks:
            self._say(self._acks[call_id, cseq])
