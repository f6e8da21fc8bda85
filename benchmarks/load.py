"""
The load: N callers and the Realtime service they talk with, in one process.

Each caller sends one 20 ms frame each 20 ms on an absolute clock at a random
phase; the service returns every frame at once, so audio flows both ways all the
time.  The first bytes of a frame are the time it was sent, so its way through
the server under test and back is measured to the frame.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
import time
from typing import Any

from attrs import define, field
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
    ws_create_server,
)

FRAME_BYTES = 160
PTIME_SECONDS = 0.02
_STAMP = struct.Struct("!Q")
_FILL = bytes(0x55 for _ in range(FRAME_BYTES - _STAMP.size))

DELTA_HEAD = (
    b'{"type":"response.output_audio.delta","event_id":"event_0123456789abcdefghijk",'
    b'"response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0,'
    b'"delta":"'
)
TRANSCRIPT_DELTA = (
    b'{"type":"response.output_audio_transcript.delta","item_id":"item_1",'
    b'"response_id":"resp_1","delta":"some words "}'
)
TURN = (
    b'{"type":"input_audio_buffer.speech_stopped","audio_end_ms":1,"item_id":"uNUMBER"}',
    b'{"type":"conversation.item.input_audio_transcription.completed",'
    b'"item_id":"uNUMBER","transcript":"What a caller says in five seconds."}',
    b'{"type":"response.output_audio_transcript.delta","item_id":"aNUMBER",'
    b'"response_id":"resp_1","delta":"What an agent answers, which is longer."}',
)
MEDIA_HEAD = (
    b'{"event":"media","sequenceNumber":"2","streamSid":"MZ","media":{"track":"inbound",'
    b'"chunk":"1","timestamp":"5","payload":"'
)
APPEND = b'"input_audio_buffer.append"'


async def posted(reader: asyncio.StreamReader) -> Any:
    """The document of the next request of a connection that stays."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return json.loads(await reader.readexactly(length))


class Service(WSListener):  # type: ignore[misc]
    """The Realtime service: returns what it is given as the agent's speech."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(
            WSMsgType.TEXT,
            b'{"type":"session.created","event_id":"e","session":{"id":"sess_1"}}',
        )

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
            return
        if frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            return
        payload = frame.get_payload_as_bytes()
        if APPEND in payload[:60]:
            start = payload.index(b'"audio":"') + 9
            audio = payload[start : payload.index(b'"', start)]
            transport.send(WSMsgType.TEXT, DELTA_HEAD + audio + b'"}')
        elif b"session.update" in payload[:60]:
            transport.send(
                WSMsgType.TEXT,
                b'{"type":"session.updated","event_id":"e","session":{"id":"sess_1"}}',
            )


class TalkativeService(Service):
    """The same, and it writes down what both sides say: a turn each five seconds."""

    count = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        super().on_ws_frame(transport, frame)
        if frame.msg_type != WSMsgType.TEXT:
            return
        if APPEND not in frame.get_payload_as_bytes()[:60]:
            return
        self.count += 1
        if self.count % 25 == 0:
            transport.send(WSMsgType.TEXT, TRANSCRIPT_DELTA)
        if self.count % 250 == 0:
            number = b"%d" % (self.count // 250)
            for event in TURN:
                transport.send(WSMsgType.TEXT, event.replace(b"NUMBER", number))


class Echo(WSListener):  # type: ignore[misc]
    """No server at all: what the load itself takes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


@define
class Samples:
    """What all callers saw while C{is_measuring}."""

    is_measuring: bool = False
    sent: int = 0
    received: int = 0
    seconds: list[float] = field(factory=list)


class Caller(WSListener):  # type: ignore[misc]
    def __init__(self, samples: Samples, is_raw: bool) -> None:
        self.samples = samples
        self.is_raw = is_raw
        self.began = time.monotonic()
        self.first_after = float("nan")
        self.is_open = False
        self.received = 0
        self.transport: Any = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.is_open = True
        transport.send(
            WSMsgType.TEXT,
            b'{"event":"start","sequenceNumber":"1","streamSid":"MZ","start":{'
            b'"streamSid":"MZ","callSid":"CA","tracks":["inbound"],"mediaFormat":{'
            b'"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},'
            b'"customParameters":{}}}',
        )

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            self._audio(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            start = payload.find(b'"payload":"')
            if start >= 0:
                start += 11
                audio = payload[start : payload.index(b'"', start)]
                self._audio(base64.b64decode(audio))
            elif b'"mark"' in payload[:20]:
                transport.send(WSMsgType.TEXT, payload)
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self.is_open = False
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.is_open = False

    def _audio(self, audio: bytes) -> None:
        now = time.monotonic_ns()
        for at in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
            if not self.received:
                self.first_after = time.monotonic() - self.began
            self.received += 1
            if self.samples.is_measuring:
                sent = _STAMP.unpack_from(audio, at)[0]
                self.samples.received += 1
                self.samples.seconds.append((now - sent) / 1e9)

    def send_frame(self) -> None:
        audio = _STAMP.pack(time.monotonic_ns()) + _FILL
        if self.is_raw:
            self.transport.send(WSMsgType.BINARY, audio)
        else:
            encoded = base64.b64encode(audio)
            self.transport.send(WSMsgType.TEXT, MEDIA_HEAD + encoded + b'"}}')
        if self.samples.is_measuring:
            self.samples.sent += 1


async def start_service(service: type[Service] = Service) -> Any:
    """Listen on a free port of loopback."""
    return await ws_create_server(lambda _: service(), "127.0.0.1", 0)


async def start_echo() -> Any:
    return await ws_create_server(lambda _: Echo(), "127.0.0.1", 0)


class Talkers:
    """What callers do, however they are connected."""

    def __init__(self) -> None:
        self.samples = Samples()
        self.callers: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def measure(self, seconds: float) -> Samples:
        self.samples = Samples(is_measuring=True)
        for caller in self.callers:
            caller.samples = self.samples
        await asyncio.sleep(seconds)
        self.samples.is_measuring = False
        return self.samples

    async def _talk(self, caller: Any) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + random.random() * PTIME_SECONDS
        while caller.is_open:
            await asyncio.sleep(max(0.0, due - loop.time()))
            if caller.is_open:
                caller.send_frame()
            due += PTIME_SECONDS


class Load(Talkers):
    """N calls to one URL."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    async def start(self, calls: int) -> None:
        """Set the calls up one after the other and let them talk."""
        is_raw = self._url.endswith("/raw")
        for _ in range(calls):
            _, listener = await ws_connect(
                lambda: Caller(self.samples, is_raw), self._url
            )
            assert isinstance(listener, Caller)
            self.callers.append(listener)
            self._tasks.append(asyncio.create_task(self._talk(listener)))
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for caller in self.callers:
            if caller.is_open:
                caller.transport.send_close()
        await asyncio.sleep(0.5)
        for caller in self.callers:
            caller.transport.disconnect()
