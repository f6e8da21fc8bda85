"""
The load over WebRTC: callers as in load.py whose audio goes over WebRTC, and a Realtime
service whose agents are reached over WebRTC.

The service returns each packet at once, as the one in load.py returns each append, but
louder: an agent that is as quiet as line noise would not count as speaking.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import struct
import time
from typing import Any

from load import _FILL, _STAMP, Samples, Talkers
from rtc_end import HOST, End, request

_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SILENCE = b"\xff" * 8
_LOUD = b"\x20" * len(_FILL)

#: One answer that never ends; all audio belongs to its item.
_RESPONSE = {"id": "resp_1", "object": "realtime.response", "status": "in_progress"}
_ITEM = {
    "id": "item_1",
    "object": "realtime.item",
    "type": "message",
    "role": "assistant",
    "status": "in_progress",
    "content": [],
}
_AT = {"response_id": "resp_1", "output_index": 0}
ANSWER: tuple[dict[str, Any], ...] = (
    {"type": "response.created", "response": _RESPONSE},
    {"type": "response.output_item.added", **_AT, "item": _ITEM},
    {"type": "conversation.item.added", "previous_item_id": None, "item": _ITEM},
    {
        "type": "response.content_part.added",
        **_AT,
        "item_id": "item_1",
        "content_index": 0,
        "part": {"type": "audio", "transcript": ""},
    },
    {"type": "output_audio_buffer.started", "response_id": "resp_1"},
)


class RtcCaller:
    """One call's media."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.is_open = False
        self.received = 0
        self.began = time.monotonic()
        self.first_after = float("nan")
        self.end = End(self._heard, asks=True)
        self.location = ""

    def _heard(self, audio: bytes) -> None:
        now = time.monotonic_ns()
        if audio[:8] == _SILENCE:
            return  # silence that keeps the stream open
        if not self.received:
            self.first_after = time.monotonic() - self.began
        self.received += 1
        if self.samples.is_measuring:
            sent = _STAMP.unpack_from(audio)[0]
            self.samples.received += 1
            self.samples.seconds.append((now - sent) / 1e9)

    def send_frame(self) -> None:
        self.end.send(_STAMP.pack(time.monotonic_ns()) + _FILL)
        if self.samples.is_measuring:
            self.samples.sent += 1


class RtcLoad(Talkers):
    """N calls to one gateway's C{/webrtc/offer}."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def start(self, calls: int) -> None:
        for _ in range(calls):
            caller = RtcCaller(self.samples)
            await caller.end.open()
            status, headers, body = await request(
                self._port,
                "POST",
                "/webrtc/offer",
                caller.end.description("actpass"),
                Content_Type="application/sdp",
            )
            if status != 201:
                raise SystemExit(f"the call was refused: {status} {body.decode()}")
            caller.location = headers["location"]
            caller.end.set_remote(body, is_client=False)
            await asyncio.wait_for(caller.end.up, 10)
            caller.is_open = True
            self.talk(caller)
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.hush()
        for caller in self.callers:
            path = caller.location
            if path.startswith("http"):
                path = "/" + path.split("/", 3)[3]
            await request(self._port, "DELETE", path)
            caller.end.close()


def louder(audio: bytes) -> bytes:
    """Return a caller's frame, but louder; silence is unchanged."""
    stamp = audio[: _STAMP.size]
    return audio if stamp == _SILENCE else stamp + _LOUD


class RtcService:
    """
    The service's HTTP server, its sidebands and its media.

    @ivar sockets: like those of an C{asyncio.Server}.
    """

    def __init__(self) -> None:
        self.sockets: Any = ()
        self._ends: dict[str, End] = {}
        self._server: Any = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.sockets = self._server.sockets

    def close(self) -> None:
        self._server.close()
        for end in self._ends.values():
            end.close()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")
                pairs = [line.partition(":") for line in lines if line]
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                method, path, _ = first.split()
                if method == "GET":
                    await self._sideband(headers, reader, writer)
                    return
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(path, body, writer)
                if headers.get("connection", "").lower() == "close":
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, path: str, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        status, more, kind, answer = "200 OK", "", "application/json", b""
        if path.endswith("/client_secrets"):
            session = json.loads(body)["session"]
            expires_at = int(time.time()) + 600
            document = {"value": "ek_benchmark", "expires_at": expires_at}
            answer = json.dumps({**document, "session": session}).encode()
        elif path.endswith("/calls"):
            call_id = f"rtc_{secrets.token_hex(8)}"
            end = self._ends[call_id] = End(
                lambda audio: end.send(louder(audio)), asks=False
            )
            await end.open()
            end.set_remote(body, is_client=True)
            status, kind = "201 Created", "application/sdp"
            more = f"Location: /v1/realtime/calls/{call_id}\r\n"
            answer = end.description("active")
        elif path.endswith("/hangup"):
            ended = self._ends.pop(path.split("/")[-2], None)
            if ended is not None:
                ended.close()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}"
            f"Content-Length: {len(answer)}\r\n\r\n".encode()
            + answer
        )

    async def _sideband(
        self,
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        key = headers["sec-websocket-key"].encode() + _WEBSOCKET_GUID
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        wanted = headers.get("sec-websocket-protocol", "")
        named = f"Sec-WebSocket-Protocol: {wanted}\r\n" if "realtime" in wanted else ""
        writer.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{named}"
            f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        session = {"id": "sess_1", "type": "realtime"}
        _send(writer, {"type": "session.created", "session": session})
        is_answered = False
        while True:
            opcode, payload = await _frame(reader)
            if opcode == 8:
                return
            if opcode == 9:
                writer.write(bytes([0x8A, len(payload)]) + payload)
            elif b'"session.update"' in payload:
                _send(writer, {"type": "session.updated", "session": session})
                for event in () if is_answered else ANSWER:
                    _send(writer, event)
                is_answered = True


def _send(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    payload = json.dumps({"event_id": "event_1", **event}).encode()
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    writer.write(head + payload)


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    data = await reader.readexactly(size)
    long = mask * (size // 4 + 1)
    whole = int.from_bytes(data) ^ int.from_bytes(long[:size])
    return first & 0x0F, whole.to_bytes(size)


async def start_rtc_service() -> RtcService:
    """Listen on a free port of loopback."""
    service = RtcService()
    await service.start()
    return service
