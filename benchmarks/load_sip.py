"""
The load over SIP and RTP: the same callers as in load.py.

One signalling socket for all calls, over UDP, TCP or TLS, and one media socket for
each, optionally with SRTP (keys in the SDP, RFC 4568).  As in load.py, the first bytes
of a frame are the time it was sent.
"""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import socket
import struct
import time
from contextlib import suppress
from typing import Any

from load import (
    _FILL,
    _STAMP,
    FRAME_BYTES,
    RECENT_NS,
    Samples,
    Talkers,
    any_certificate,
)
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

_RTP = struct.Struct("!BBHII")


_SUITE = "AES_CM_128_HMAC_SHA1_80"
_SILENCE = b"\xff" * 8


def _session(key: bytes, direction: int) -> Any:
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    return Session(Policy(key, direction, 0, profile))


class SipCaller:
    """
    One call's media.

    @ivar key: the caller's own SRTP key; empty: plain RTP.
    """

    def __init__(self, samples: Samples, key: bytes = b"") -> None:
        self.samples = samples
        self.key = key
        self.began = time.monotonic()
        self.first_after = float("nan")
        self.is_open = False
        self.received = 0
        self._sequence = 0
        self._timestamp = 0
        self._ssrc = random.getrandbits(32)
        self._protect: Any = None
        self._unprotect: Any = None
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def open(self, remote: tuple[str, int], their_key: bytes = b"") -> None:
        """Connect to the remote address, with the SRTP key of the other side."""
        if self.key:
            self._protect = _session(self.key, Policy.SSRC_ANY_OUTBOUND).protect
            self._unprotect = _session(their_key, Policy.SSRC_ANY_INBOUND).unprotect
        self._socket.connect(remote)
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        self.is_open = True

    def close(self) -> None:
        self.is_open = False
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        with suppress(OSError):  # the remote port is already closed
            self.datagram_received(self._socket.recv(2048), None)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        now = time.monotonic_ns()
        if self._unprotect is not None:
            try:
                data = self._unprotect(data)
            except SrtpError:
                return  # SRTCP
        if data[12:20] == _SILENCE:
            return  # silence that keeps the stream open
        if not self.received:
            self.first_after = now / 1e9 - self.began
        self.received += 1
        if self.samples.is_measuring and len(data) >= 12 + FRAME_BYTES:
            self.samples.received += 1
            sent = _STAMP.unpack_from(data, 12)[0]
            if 0 <= now - sent < RECENT_NS:
                self.samples.seconds.append((now - sent) / 1e9)

    def send_frame(self) -> None:
        header = _RTP.pack(0x80, 0, self._sequence, self._timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + FRAME_BYTES) & 0xFFFFFFFF
        packet = header + _STAMP.pack(time.monotonic_ns()) + _FILL
        if self._protect is not None:
            packet = self._protect(packet)
        with suppress(OSError):
            self._socket.send(packet)
        if self.samples.is_measuring:
            self.samples.sent += 1


class Signalling(asyncio.DatagramProtocol):
    """Assigns SIP answers to their calls."""

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


async def signalling(transport: str, remote: tuple[str, int]) -> Signalling:
    """
    Open a signalling socket.

    @param transport: C{udp}, C{tcp} or C{tls}.
    """
    loop = asyncio.get_running_loop()
    if transport == "udp":
        _, found = await loop.create_datagram_endpoint(
            Signalling, local_addr=("127.0.0.1", 0)
        )
        return found
    context = any_certificate() if transport == "tls" else None
    _, stream = await loop.create_connection(SignallingStream, *remote, ssl=context)
    return stream


class SipLoad(Talkers):
    """
    N calls to one address.

    @param is_secure: with SRTP.
    """

    def __init__(
        self,
        host: str,
        port: int,
        name: str = "call",
        transport: str = "udp",
        *,
        is_secure: bool = False,
    ) -> None:
        self._remote = (host, port)
        self._name = name
        self._transport = transport
        self._is_secure = is_secure
        super().__init__()
        self._dialogs: list[tuple[str, str]] = []
        self._signalling = Signalling()
        self._port = 0

    async def start(self, calls: int) -> None:
        self._signalling = await signalling(self._transport, self._remote)
        self._port = self._signalling.transport.get_extra_info("sockname")[1]
        for number in range(calls):
            key = secrets.token_bytes(30) if self._is_secure else b""
            caller = SipCaller(self.samples, key)
            await self._invite(caller, f"{self._name}-{number}")
            self.talk(caller)
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
        profile, crypto = "RTP/AVP", ""
        if caller.key:
            inline = base64.b64encode(caller.key).decode()
            profile, crypto = "RTP/SAVP", f"a=crypto:1 {_SUITE} inline:{inline}\r\n"
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {caller.port} {profile} 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            f"a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n{crypto}"
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
        theirs = answer.partition(" inline:")[2].split("\r\n")[0].split("|")[0]
        caller.open((self._remote[0], port), base64.b64decode(theirs))

    def _send(self, text: str) -> None:
        self._signalling.send(text, self._remote)

    async def stop(self) -> None:
        self.hush()
        for call_id, to in self._dialogs:
            self._send(self._message("BYE", call_id, to, 2, ""))
        await asyncio.sleep(0.5)
        for caller in self.callers:
            caller.close()
        self._signalling.transport.close()
