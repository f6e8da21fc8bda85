"""
A caller over WebRTC that knows for each frame whether it came back, and may misbehave.

It uses aioice for STUN messages, OpenSSL for DTLS and libsrtp for SRTP, on its own
sockets.  It is lean, so that there can be hundreds of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets
import time
from typing import Any

from aioice import stun
from load import FRAME_BYTES
from load_sip import _RTP

from suites.faults.lines import ANSWER_SECONDS, Line
from suites.rtc import http
from suites.rtc.dtls import FINGERPRINT, PROFILE, Dtls
from suites.rtc.relay import Place, place_of

CONSENT_SECONDS = 5.0

#: The interval of checks until one is answered.
CHECK_SECONDS = 0.2


def description(
    place: Place,
    *,
    ufrag: str,
    password: str,
    fingerprint: str = FINGERPRINT,
    setup: str = "actpass",
    more: str = "",
) -> str:
    """
    Return a session description.

    @param more: lines at the end of the audio section.
    """
    host, port = place
    return (
        f"v=0\r\no=- {random.getrandbits(31)} 1 IN IP4 {host}\r\ns=-\r\nt=0 0\r\n"
        f"a=group:BUNDLE 0\r\nm=audio {port} UDP/TLS/RTP/SAVPF 0 101\r\n"
        f"c=IN IP4 {host}\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n"
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
        "a=fmtp:101 0-15\r\na=ptime:20\r\n"
        f"a=setup:{setup}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n"
        f"a=fingerprint:sha-256 {fingerprint}\r\n"
        f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n{more}"
        "a=end-of-candidates\r\n"
    )


def attribute(text: str, name: str) -> str:
    """
    Find an attribute in a session description.

    @return: the value of the last C{a=NAME:} line; empty: there is none.
    """
    found = re.findall(rf"(?m)^a={name}:(.*?)\r?$", text)
    return found[-1] if found else ""


def payload(packet: bytes) -> bytes:
    """Return the payload of an RTP packet (RFC 3550 section 5.1)."""
    at = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")
    return packet[at:]


class RtcCall(Line, asyncio.DatagramProtocol):
    """
    A call.

    @ivar response: the gateway's response to the offer.
    @ivar remote: the gateway's UDP address.
    @ivar is_secured: the handshake is complete, and both sides have keys.
    """

    carrier = "webrtc"

    #: Rogue callers override these.
    fingerprint = FINGERPRINT
    profiles = PROFILE
    consents = True

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(16)
        self._tie_breaker = secrets.token_bytes(8)
        self.response = http.Response(0, {}, "")
        self.remote_ufrag = self.remote_password = ""
        self.remote: Place = ("", 0)
        self.transport: Any = None
        self.dtls: Any = None
        self.sequence = random.randrange(1 << 15)
        self.timestamp = random.getrandbits(31)
        self.ssrc = random.getrandbits(32)
        self._keeping: asyncio.Task[None] | None = None
        self.checks_answered = 0
        self.media_received = 0
        self.is_secured = False

    async def open(self) -> None:
        self.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )

    @property
    def own_place(self) -> Place:
        host, port = self.transport.get_extra_info("sockname")[:2]
        return host, port

    def offer(self, **changes: str) -> str:
        return description(
            self.own_place,
            ufrag=self.ufrag,
            password=self.password,
            fingerprint=self.fingerprint,
            **changes,
        )

    async def place_offer(self) -> bool:
        """Send the offer, and return whether it was answered."""
        if self.transport is None:
            await self.open()
        self.response = await http.offer(self._port, self.offer())
        if self.response.status != 201:
            self.ended = f"{self.response.status} {self.response.body[:200]}"
            return False
        answer = self.response.body
        self.remote_ufrag = attribute(answer, "ice-ufrag")
        self.remote_password = attribute(answer, "ice-pwd")
        self.remote = place_of(answer)
        is_client = attribute(answer, "setup") == "passive"
        self.dtls = Dtls(self._say, is_client=is_client, profiles=self.profiles)
        return True

    async def place(self) -> None:
        if not await self.place_offer():
            return
        self._keeping = asyncio.create_task(self._keep())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while not self.is_secured and not self.dtls.is_over:
                    await asyncio.sleep(0.02)
        if not self.is_secured:
            self.ended = self.ended or "no path"
            return
        self.is_open = not self.ended
        self.talk()

    async def _keep(self) -> None:
        """Send checks until one is answered, do the handshake, then keep consent."""
        due = 0.0
        is_begun = False
        while not self.transport.is_closing():
            now = time.monotonic()
            if now >= due and (self.consents or not self.checks_answered):
                self._say(self.check())
                due = now + (CONSENT_SECONDS if self.checks_answered else CHECK_SECONDS)
            if self.checks_answered and not is_begun:
                is_begun = True
                self.dtls.go_on()
            self.dtls.tick()
            await asyncio.sleep(1.0 if self.is_secured else 0.05)

    def check(self, *, password: str = "", nominates: bool = True) -> bytes:
        """Return a binding request of the controlling side."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self.remote_ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 1845494271
        message.attributes["ICE-CONTROLLING"] = int.from_bytes(self._tie_breaker, "big")
        if nominates:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity((password or self.remote_password).encode())
        return bytes(message)

    def _say(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.sendto(data, self.remote)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        first = data[0] if data else 255
        if first < 4:
            self._stun(data, addr)
        elif 20 <= first < 64 and self.dtls is not None:
            self.dtls.received(data)
            if self.dtls.is_up and not self.is_secured:
                self._secured()
            if self.dtls.is_over:
                self.is_open = False
                self.ended = self.ended or "closed by DTLS"
        elif 128 <= first < 192 and self.is_secured and data[1] & 0x7F < 64:
            audio = payload(self.dtls.into.unprotect(data))
            self.media_received += 1
            if audio[:8] != b"\xff" * 8:
                self.hear(audio)

    def _secured(self) -> None:
        wanted = f"a=fingerprint:sha-256 {self.dtls.peer_fingerprint()}"
        if wanted.upper() not in self.response.body.upper():
            self.ended = "the gateway's fingerprint does not match"
        elif self.dtls.profile != PROFILE:
            self.ended = "no profile"
        else:
            self.is_secured = True

    def _stun(self, data: bytes, addr: Any) -> None:
        try:
            message = stun.parse_message(data)
        except ValueError:
            return
        if message.message_class is stun.Class.RESPONSE:
            self.checks_answered += 1
        elif message.message_class is stun.Class.REQUEST:
            answer = stun.Message(
                stun.Method.BINDING, stun.Class.RESPONSE, message.transaction_id
            )
            answer.attributes["XOR-MAPPED-ADDRESS"] = addr
            answer.add_message_integrity(self.password.encode())
            self.transport.sendto(bytes(answer), addr)

    def packet(self, audio: bytes, kind: int = 0) -> bytes:
        header = _RTP.pack(0x80, kind, self.sequence, self.timestamp, self.ssrc)
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + FRAME_BYTES) & 0xFFFFFFFF
        made: bytes = self.dtls.out.protect(header + audio)
        return made

    def _send(self, audio: bytes) -> None:
        self._say(self.packet(audio))

    async def hang_up(self) -> None:
        self.be_quiet()
        if not self.is_open:
            return
        self.is_open = False
        self.ended = self.ended or "hung up"
        path = self.response.headers.get("location", "")
        said = await http.ask(self._port, "DELETE", path)
        if said.status not in (200, 204):
            self.ended = f"DELETE: {said.status}"

    def close(self) -> None:
        self.be_quiet()
        if self._keeping is not None:
            self._keeping.cancel()
        if self.transport is not None:
            self.transport.close()
