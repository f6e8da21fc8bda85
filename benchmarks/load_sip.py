"""
The load over SIP and RTP: the same callers as in load.py.

One signalling socket for all calls, of UDP, TCP or TLS, and one media socket for each.
The first bytes of a frame are the time it was sent, as there.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import struct
import time
from typing import Any

from load import _FILL, _STAMP, FRAME_BYTES, Samples, Talkers

_RTP = struct.Struct("!BBHII")


class SipCaller(asyncio.DatagramProtocol):
    """One call's media."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.began = time.monotonic()
        self.first_after = float("nan")
        self.is_open = False
        self.received = 0
        self.transport: Any = None
        self.remote: tuple[str, int] = ("", 0)
        self._sequence = 0
        self._timestamp = 0
        self._ssrc = random.getrandbits(32)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        now = time.monotonic_ns()
        if data[12:20] == b"\xff" * 8:
            return  # the silence that keeps the line open
        if not self.received:
            self.first_after = time.monotonic() - self.began
        self.received += 1
        if self.samples.is_measuring:
            sent = _STAMP.unpack_from(data, 12)[0]
            self.samples.received += 1
            self.samples.seconds.append((now - sent) / 1e9)

    def send_frame(self) -> None:
        header = _RTP.pack(0x80, 0, self._sequence, self._timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + FRAME_BYTES) & 0xFFFFFFFF
        stamp = _STAMP.pack(time.monotonic_ns())
        self.transport.sendto(header + stamp + _FILL, self.remote)
        if self.samples.is_measuring:
            self.samples.sent += 1


class Signalling(asyncio.DatagramProtocol):
    """Answers, by the call they belong to."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[str]] = {}
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received(data.decode())

    def received(self, text: str) -> None:
        if not text.startswith("SIP/2.0 "):
            return
        call_id = text.partition("Call-ID: ")[2].partition("\r\n")[0]
        future = self.waiting.get(call_id)
        if text[8] != "1" and future is not None and not future.done():
            future.set_result(text)

    def send(self, text: str, remote: tuple[str, int]) -> None:
        self.transport.sendto(text.encode(), remote)


class SignallingStream(Signalling, asyncio.Protocol):
    """The same over a connection."""

    def __init__(self) -> None:
        super().__init__()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0] or 0)
            if not end or len(rest) < length:
                return
            self._data = rest[length:]
            self.received((head + end + rest[:length]).decode())

    def send(self, text: str, remote: tuple[str, int]) -> None:
        self.transport.write(text.encode())


def anybody() -> ssl.SSLContext:
    """Whoever the certificate says that it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def signalling(transport: str, remote: tuple[str, int]) -> Signalling:
    """
    @param transport: C{udp}, C{tcp} or C{tls}.
    """
    loop = asyncio.get_running_loop()
    if transport == "udp":
        _, found = await loop.create_datagram_endpoint(
            Signalling, local_addr=("127.0.0.1", 0)
        )
        return found
    context = anybody() if transport == "tls" else None
    _, stream = await loop.create_connection(SignallingStream, *remote, ssl=context)
    return stream


class SipLoad(Talkers):
    """N calls to one address."""

    def __init__(
        self, host: str, port: int, name: str = "call", transport: str = "udp"
    ) -> None:
        self._remote = (host, port)
        self._name = name
        self._transport = transport
        super().__init__()
        self._dialogs: list[tuple[str, str]] = []
        self._signalling = Signalling()
        self._port = 0

    async def start(self, calls: int) -> None:
        loop = asyncio.get_running_loop()
        self._signalling = await signalling(self._transport, self._remote)
        self._port = self._signalling.transport.get_extra_info("sockname")[1]
        for number in range(calls):
            caller = SipCaller(self.samples)
            await loop.create_datagram_endpoint(
                lambda caller=caller: caller,  # type: ignore[misc]
                local_addr=("127.0.0.1", 0),
            )
            await self._invite(caller, f"{self._name}-{number}")
            self.callers.append(caller)
            self._tasks.append(asyncio.create_task(self._talk(caller)))
            await asyncio.sleep(0.01)

    def _message(self, method: str, call_id: str, to: str, cseq: int, body: str) -> str:
        host, port = self._remote
        return (
            f"{method} sip:bench@{host}:{port} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self._transport.upper()} 127.0.0.1:{self._port}"
            f";branch=z9hG4bK{call_id}{method}{cseq};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:load@127.0.0.1>;tag={call_id}\r\n"
            f"To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
            f"Contact: <sip:load@127.0.0.1:{self._port}"
            f";transport={self._transport}>\r\n"
            "Content-Type: application/sdp\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    async def _invite(self, caller: SipCaller, call_id: str) -> None:
        rtp_port = caller.transport.get_extra_info("sockname")[1]
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {rtp_port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
        )
        to = f"<sip:bench@{self._remote[0]}>"
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._signalling.waiting[call_id] = future
        self._send(self._message("INVITE", call_id, to, 1, sdp))
        answer = await asyncio.wait_for(future, 10)
        if not answer.startswith("SIP/2.0 200"):
            raise SystemExit(f"the call was refused: {answer.splitlines()[0]}")
        to = answer.partition("\r\nTo: ")[2].partition("\r\n")[0]
        port = int(answer.partition("m=audio ")[2].split()[0])
        self._send(self._message("ACK", call_id, to, 1, ""))
        self._dialogs.append((call_id, to))
        caller.remote = (self._remote[0], port)
        caller.is_open = True

    def _send(self, text: str) -> None:
        self._signalling.send(text, self._remote)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for call_id, to in self._dialogs:
            self._send(self._message("BYE", call_id, to, 2, ""))
        await asyncio.sleep(0.5)
        for caller in self.callers:
            caller.transport.close()
        self._signalling.transport.close()
