"""
Callers of both carriers, who know of each of their frames whether it came back.

The service under the gateway returns what it hears, and the first bytes of a frame
are the time it was sent: a frame whose time is not heard again is lost.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import random
import time
from typing import Any

from load import (
    _FILL,
    _STAMP,
    FRAME_BYTES,
    MEDIA_HEAD,
    PTIME_SECONDS,
    Caller,
    Samples,
)
from load_sip import _RTP
from picows import WSFrame, WSMsgType, WSTransport, ws_connect

from chime_gateway.aws.sma import prove

#: Until a call is answered or refused; the gateway's own time for it is shorter.
ANSWER_SECONDS = 40.0

#: RFC 3261 section 17.1.1.2: T1, doubling.
_FIRST_RETRANSMISSION_SECONDS = 0.5

_SILENCE = bytes([0xFF]) * FRAME_BYTES

_numbers = itertools.count(1)


class Line:
    """
    One call.

    @ivar sent: when each of its frames was sent, in ns of the monotonic clock.
    @ivar heard: those of them that came back.
    @ivar frames: what came in all, the agent's own speech included.
    @ivar stall_seconds: the longest time between two frames that came back, since
        somebody set it to 0; what others did to the machine included.
    @ivar is_mute: silence is sent, which interrupts nobody.
    @ivar ended: why it is over, as the other side said; empty: it said nothing.
    """

    carrier = ""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.heard: set[int] = set()
        self.frames = 0
        self.stall_seconds = 0.0
        self._came_at = 0.0
        self.is_mute = False
        self.is_open = False
        self.ended = ""
        self._talking: asyncio.Task[None] | None = None

    async def place(self) -> None:
        """Until it is answered or refused; then, if it is open, it talks."""
        raise NotImplementedError

    async def hang_up(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Give back what it holds here."""
        raise NotImplementedError

    def _send(self, audio: bytes) -> None:
        raise NotImplementedError

    def talk(self) -> None:
        self._talking = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + random.random() * PTIME_SECONDS
        while self.is_open:
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self.is_open:
                stamp = time.monotonic_ns()
                if self.is_mute:
                    self._send(_SILENCE)
                else:
                    self._send(_STAMP.pack(stamp) + _FILL)
                    self.sent.append(stamp)
            due += PTIME_SECONDS

    def be_quiet(self) -> None:
        if self._talking is not None:
            self._talking.cancel()

    def hear(self, audio: bytes) -> None:
        now = time.monotonic()
        if self._came_at:
            self.stall_seconds = max(self.stall_seconds, now - self._came_at)
        self._came_at = now
        for at in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
            self.frames += 1
            self.heard.add(_STAMP.unpack_from(audio, at)[0])

    async def is_answered(self, seconds: float = ANSWER_SECONDS) -> bool:
        """Whether anything is heard before it ends, or the time is over."""
        deadline = time.monotonic() + seconds
        while not self.frames and not self.ended and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return bool(self.frames)

    def goes_on(self, since: int) -> bool:
        """Whether it is open, and what was sent since then has been heard."""
        return self.is_open and any(stamp >= since for stamp in self.heard)

    def lost(self, gaps: list[tuple[int, int]]) -> int:
        """
        Frames sent since the agent was there that never came back.

        @param gaps: those sent within these do not count; in ns.
        """
        own = self.heard.intersection(self.sent)
        if not own:
            return len(self.sent)
        first = min(own)
        missing = (stamp for stamp in self.sent if stamp >= first and stamp not in own)
        return sum(
            not any(start <= stamp < end for start, end in gaps) for stamp in missing
        )


class Stream(Line, Caller):
    """Over WebSocket."""

    carrier = "stream"

    def __init__(
        self, port: int, *, is_raw: bool = False, agent: str = "", **more: str
    ) -> None:
        Line.__init__(self)
        Caller.__init__(self, Samples(), is_raw)
        self.is_open = False
        self._url = f"ws://127.0.0.1:{port}/stream{'/raw' if is_raw else ''}"
        self._own = more | ({"agent": agent} if agent else {})

    async def place(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await ws_connect(lambda: self, self._url)
        except Exception as error:  # whatever it is, there is no connection
            self.ended = f"not connected: {error!r}"
            return
        if not self.is_open and not self.ended:
            # picows returns all the same, and tells nobody that it was closed.
            self.ended = "not connected: closed during the handshake"
            return
        self.talk()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.is_open = True
        start = {
            "streamSid": "MZ",
            "callSid": "CA",
            "tracks": ["inbound"],
            "mediaFormat": {
                "encoding": "audio/x-mulaw",
                "sampleRate": 8000,
                "channels": 1,
            },
            "customParameters": self._own,
        }
        event = {"event": "start", "streamSid": "MZ", "start": start}
        transport.send(WSMsgType.TEXT, json.dumps(event).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE and not self.ended:
            self.ended = f"closed with {int(frame.get_close_code())}"
        super().on_ws_frame(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.is_open = False
        self.ended = self.ended or "the connection broke"

    def _audio(self, audio: bytes) -> None:
        self.hear(audio)

    def _send(self, audio: bytes) -> None:
        if self.is_raw:
            self.transport.send(WSMsgType.BINARY, audio)
        else:
            encoded = base64.b64encode(audio)
            self.transport.send(WSMsgType.TEXT, MEDIA_HEAD + encoded + b'"}}')

    async def hang_up(self) -> None:
        self.be_quiet()
        if self.is_open:
            self.ended = self.ended or "hung up"
            self.transport.send_close()

    def close(self) -> None:
        self.be_quiet()
        if self.transport is not None:
            self.transport.disconnect()


class _Media(asyncio.DatagramProtocol):
    def __init__(self, call: SipCall) -> None:
        self._call = call

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[12:20] != b"\xff" * 8:  # the silence that keeps the line open
            self._call.hear(data[12:])


class SipCall(Line, asyncio.DatagramProtocol):
    """
    Over SIP and RTP, with sockets of its own.

    @ivar ssrc: of its audio; C{sequence}: the next number.
    @ivar media_place: where that goes.
    """

    carrier = "sip"

    def __init__(self, sip_port: int, *, agent: str = "", secret: str = "") -> None:
        """@param secret: with which the call proves whose it is; empty: it does not."""
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
        """Say again where media is, with a re-INVITE; whether that was taken."""
        self._cseq += 1
        self._heard_of.discard("INVITE")
        answer = await self.ask("INVITE", self._cseq, self._description(direction))
        return answer.startswith("SIP/2.0 200")

    async def move(self, host: str = "127.0.0.1", *, is_anew: bool = False) -> None:
        """
        Media comes from another port from now on; what comes to the old one is heard.

        @param is_anew: from another source, too.
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
        """From the port of the audio, to that of the other side's."""
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
        @return: the final response; empty: none came.
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
        # The port may have been that of somebody who is still told of the end.
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
    @return: the status of an OPTIONS; 0: no answer.
    """
    call = SipCall(sip_port)
    await call.open()
    try:
        answer = await call.ask("OPTIONS", 1)
    finally:
        call.close()
    return int(answer.split()[1]) if answer else 0
