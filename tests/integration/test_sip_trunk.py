"""Outbound calls through a trunk that challenges every request and redirects calls."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from attrs import evolve
from twisted.internet.protocol import DatagramProtocol

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import GatewaySettings, SipTrunk
from tests.integration.sip_harness import SipTestCase

PASSWORD = "a password"


def h(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class Uas(DatagramProtocol):
    """
    A simple server that challenges each request with a new nonce, without C{stale}.

    @ivar moved_to: another server, to which calls are redirected.
    @ivar taken: methods that arrived with the right password.
    """

    def __init__(self, realm: str, media_port: int) -> None:
        self.realm = realm
        self.media_port = media_port
        self.moved_to: Uas | None = None
        self.taken: list[str] = []
        self.serial = 0

    @property
    def port(self) -> int:
        assert self.transport is not None
        number: int = self.transport.getHost().port
        return number

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        head, _, _ = data.decode().partition("\r\n\r\n")
        method, uri, _ = head.partition("\r\n")[0].split(" ")
        if method == "ACK":
            self.taken.append("ACK")
        elif not self.is_allowed(head, method, uri):
            self.serial += 1
            self.answer(head, addr, "407 Prove it", self.challenge())
        elif self.moved_to is not None:
            contacts = (
                "Contact: <sip:far@203.0.113.1>\r\n"
                f"Contact: <sip:moved@127.0.0.1:{self.moved_to.port}>;q=0.5\r\n"
            )
            self.answer(head, addr, "302 Moved", contacts)
        else:
            self.taken.append(method)
            self.answer(head, addr, "180 Ringing", f"Contact: <sip:x@{addr[0]}>\r\n")
            contact = f"Contact: <sip:callee@127.0.0.1:{self.port}>\r\n"
            sdp = (
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\n"
                f"t=0 0\r\nm=audio {self.media_port} RTP/AVP 0\r\n"
            )
            is_invite = method == "INVITE"
            kind = "Content-Type: application/sdp\r\n" if is_invite else ""
            body = sdp if is_invite else ""
            self.answer(head, addr, "200 OK", contact + kind, body)

    def challenge(self) -> str:
        nonce = f"{self.realm}{self.serial}"
        parts = f'realm="{self.realm}", nonce="{nonce}", qop="auth-int,auth"'
        return f"Proxy-Authenticate: Digest {parts}\r\n"

    def is_allowed(self, head: str, method: str, uri: str) -> bool:
        for line in re.findall(r"Proxy-Authorization: Digest (.*)", head):
            given = dict(re.findall(r'(\w+)="?([^",]+)', line))
            if given["nonce"] == f"{self.realm}{self.serial}":
                secret = h(f"user:{self.realm}:{PASSWORD}")
                middle = f"{given['nonce']}:00000001:{given['cnonce']}:auth"
                expected = h(f"{secret}:{middle}:{h(f'{method}:{uri}')}")
                # The next request is challenged again.
                self.serial += 1
                return bool(given["response"] == expected)
        return False

    def answer(
        self, head: str, addr: Any, status: str, headers: str, body: str = ""
    ) -> None:
        lines = head.split("\r\n")[1:]
        names = ("Via:", "From:", "Call-ID:", "CSeq:")
        kept = [line for line in lines if line.startswith(names)]
        to = next(line for line in lines if line.startswith("To:"))
        to += "" if ";tag=" in to else f";tag={self.realm}"
        echoed = "\r\n".join((*kept, to))
        text = f"SIP/2.0 {status}\r\n{echoed}\r\n{headers}"
        text += f"Content-Length: {len(body)}\r\n\r\n{body}"
        assert self.transport is not None
        self.transport.write(text.encode(), addr)


class TrunkTests(SipTestCase):
    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        self.first, self.second = Uas("first", 40000), Uas("second", 40000)
        self.first.moved_to = self.second
        for uas in (self.first, self.second):
            port = self.reactor.listenUDP(0, uas, interface="127.0.0.1")
            self.addCleanup(port.stopListening)
        trunk = SipTrunk(
            host="127.0.0.1",
            port=self.first.port,
            from_number="+1 206-555-0100",
            username="user",
            password=PASSWORD,
        )
        settings = super().gateway_settings(endpoint)
        return evolve(settings, sip=evolve(settings.sip, trunk=trunk))

    async def test_a_call_is_redirected_answered_and_hung_up(self) -> None:
        self.carrier.dial("+15550199")
        # The first ACK is for the challenge.
        await self.until(lambda: self.second.taken == ["ACK", "INVITE", "ACK"])
        for call in self.gateway.calls.calls():
            call.hang_up(Ending(Outcome.TIME_LIMIT, "the test is over"))
        await self.until(lambda: self.second.taken[-1:] == ["BYE"])
        await self.until(self.nothing_is_left)
