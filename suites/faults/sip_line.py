"""A caller over SIP and RTP, with its own sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from typing import Any

from load import FRAME_BYTES
from load_sip import _RTP

from chime_gateway.aws.sma import prove
from suites.faults.lines import ANSWER_SECONDS, Line

#: RFC 3261 section 17.1.1.2: T1, doubling.
_FIRST_RETRANSMISSION_SECONDS = 0.5

_numbers = itertools.count(1)


class _Media(asyncio.DatagramProtocol):
    def __init__(self, call: SipCall) -> None:
        self._call = call

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[12:20] != b"\xff" * 8:  # silence that keeps the stream open
            self._call.hear(data[12:])


class SipCall(Line, asyncio.DatagramProtocol):
    """
    A call over SIP and RTP, with its own sockets.

    @ivar ssrc: the SSRC of its audio.
    @ivar sequence: the next sequence number.
    @ivar media_place: the address that the audio goes to.
    """

    carrier = "sip"

    def __init__(self, sip_port: int, *, agent: str = "", secret: str = "") -> None:
        """@param secret: the secret for the call's proof; empty: no proof."""
        super().__init__()
        self._gateway = ("127.0.0.1", sip_port)
        self._call_id = f"chaos-{next(_numbers)}-{random.getrandbits(32):x}"
        self._headers = f"X-Agent: {agent}\r\n" if agent else ""
        if secret:
            proof = prove(secret, self._call_id, agent, time.time())
            self._headers += f"X-Transaction-Id: {self._call_id}\r\n"
            self._headers += f"X-Gw-Auth: {proof}\r\n"
        self._to = "<sip:bench@127.0.0.1>"
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._heard_of: set[str] = set()
        self._cseq = 1
        self._signalling: Any = None
        self._media: Any = None
        self._left: list[Any] = []
        self.media_place = ("", 0)
        self._port = 0
        self.sequence = random.randrange(1 << 15)
        self._timestamp = random.getrandbits(32)
        self.ssrc = random.getrandbits(32)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        here = ("127.0.0.1", 0)
        self._signalling, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=here
        )
        self._media, _ = await loop.create_datagram_endpoint(
            lambda: _Media(self), local_addr=here
        )
        self._port = self._signalling.get_extra_info("sockname")[1]

    async def place(self) -> None:
        await self.open()
        answer = await self.ask("INVITE", 1, self._description())
        if not answer.startswith("SIP/2.0 200"):
            self.ended = answer.partition("\r\n")[0] or "no answer"
            return
        self.media_place = (
            "127.0.0.1",
            int(answer.partition("m=audio ")[2].split()[0]),
        )
        self.is_open = not self.ended
        self.talk()

    def _description(self, direction: str = "sendrecv") -> str:
        host, port = self._media.get_extra_info("sockname")
        return (
            f"v=0\r\no=- 1 {self._cseq} IN IP4 127.0.0.1\r\ns=-\r\n"
            f"c=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
            f"a={direction}\r\n"
        )

    async def describe(self, direction: str = "sendrecv") -> bool:
        """
        Send the session description in a re-INVITE; return whether it was accepted.
        """
        self._cseq += 1
        self._heard_of.discard("INVITE")
        answer = await self.ask("INVITE", self._cseq, self._description(direction))
        return answer.startswith("SIP/2.0 200")

    async def move(self, host: str = "127.0.0.1", *, is_anew: bool = False) -> None:
        """
        Send media from another port; audio that arrives at the old one is still heard.

        @param is_anew: with another SSRC, too.
        """
        self._left.append(self._media)
        self._media, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Media(self), local_addr=(host, 0)
        )
        if is_anew:
            self.sequence = random.randrange(1 << 15)
            self._timestamp = random.getrandbits(32)
            self.ssrc = random.getrandbits(32)

    def say_rtcp(self, packet: bytes) -> None:
        """Send RTCP from the audio port to the other side's audio port."""
        self._media.sendto(packet, self.media_place)

    def _message(self, method: str, cseq: int, body: str = "", branch: str = "") -> str:
        host, port = self._gateway
        return (
            f"{method} sip:bench@{host}:{port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self._port}"
            f";branch=z9hG4bK{self._call_id}{branch or method}{cseq};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:load@127.0.0.1>;tag={self._call_id}\r\n"
            f"To: {self._to}\r\nCall-ID: {self._call_id}\r\nCSeq: {cseq} {method}\r\n"
            f"Contact: <sip:load@127.0.0.1:{self._port}>\r\n{self._headers}"
            "Content-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    async def ask(self, method: str, cseq: int, body: str = "") -> str:
        """
        Send a request, with retransmissions.

        @return: the final response; empty: none.
        """
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[method] = future
        text = self._message(method, cseq, body)
        deadline = time.monotonic() + ANSWER_SECONDS
        wait = _FIRST_RETRANSMISSION_SECONDS
        while not future.done() and time.monotonic() < deadline:
            if method not in self._heard_of:
                self._say(text)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(future), wait)
            wait = min(4.0, 2 * wait)
        return future.result() if future.done() else ""

    def _say(self, text: str) -> None:
        if not self._signalling.is_closing():
            self._signalling.sendto(text.encode(), self._gateway)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        text = data.decode(errors="replace")
        if not text.startswith("SIP/2.0 "):
            self._asked(text, addr)
            return
        number, method = text.partition("CSeq: ")[2].partition("\r\n")[0].split()
        self._heard_of.add(method)
        if text[8] == "1":
            return
        if method == "INVITE":
            self._to = text.partition("\r\nTo: ")[2].partition("\r\n")[0]
            is_taken = text[8] == "2"
            branch = "" if is_taken else "INVITE"
            self._say(self._message("ACK", int(number), branch=branch))
        future = self._answers.get(method)
        if future is not None and not future.done():
            future.set_result(text)

    def _asked(self, text: str, whence: Any) -> None:
        first, _, rest = text.partition("\r\n")
        if first.startswith("ACK"):
            return
        # An earlier call may have used this port, and its BYE may still arrive.
        is_ours = self._call_id in rest
        is_bye = first.startswith("BYE")
        if is_ours and is_bye:
            self.is_open = False
            self.ended = self.ended or "BYE"
        names = ("via:", "from:", "to:", "call-id:", "cseq:")
        kept = [
            line
            for line in rest.partition("\r\n\r\n")[0].split("\r\n")
            if line.lower().startswith(names)
        ]
        status = "200 OK" if is_bye else "501 Not Implemented"
        if not is_ours:
            status = "481 Call/Transaction Does Not Exist"
        lines = [f"SIP/2.0 {status}", *kept, "Content-Length: 0", "", ""]
        if not self._signalling.is_closing():
            self._signalling.sendto("\r\n".join(lines).encode(), whence)

    def _send(self, audio: bytes) -> None:
        header = _RTP.pack(0x80, 0, self.sequence, self._timestamp, self.ssrc)
        self.sequence = (self.sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + FRAME_BYTES) & 0xFFFFFFFF
        self._media.sendto(header + audio, self.media_place)

    async def hang_up(self) -> None:
        self.be_quiet()
        if self.is_open:
            self.is_open = False
            self.ended = self.ended or "hung up"
            if not await self.ask("BYE", self._cseq + 1):
                self.ended = "BYE was not answered"

    def close(self) -> None:
        self.be_quiet()
        for transport in (self._signalling, self._media, *self._left):
            if transport is not None:
                transport.close()


async def options(sip_port: int) -> int:
    """
    Send an OPTIONS request.

    @return: the status of the answer; 0: none.
    """
    call = SipCall(sip_port)
    await call.open()
    try:
        answer = await call.ask("OPTIONS", 1)
    finally:
        call.close()
    return int(answer.split()[1]) if answer else 0
