"""
The load: N callers and the Realtime service they talk with, in one process.

Each caller sends one frame every 20 ms, by an absolute clock and at a random phase; the
service returns every frame at once, so audio flows in both directions all the time.
The first bytes of a frame are the time it was sent, so the round trip through the
server under test is measured for each frame.  speech.py has a service that speaks like
a real one.

One core serves both ends of every call, so the load is as lean as the measured server:
one timer for all callers, WebSocket and TLS in C (picows and its aiofastnet), and only
the variable part of a message is encoded in base64.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import struct
import time
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
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

# Sending on a connection that has just closed is expected here; do not log it.
logging.getLogger("aiofastnet").setLevel(logging.ERROR)

FRAME_BYTES = 160
PTIME_SECONDS = 0.02
_STAMP = struct.Struct("!Q")
_FILL = bytes(0x55 for _ in range(FRAME_BYTES - _STAMP.size))

#: The variable part of a frame: when it was sent, and by which caller.  The rest is
#: encoded once.
_HEAD = struct.Struct("!QI")
_ENCODED_FILL = b2a_base64(_FILL[_HEAD.size - _STAMP.size :], newline=False)

#: Audio whose first bytes are not a time within the last quarter of an hour (1000 s) is
#: not a stamped frame.
RECENT_NS = 10**12

#: The number of slots in 20 ms; each caller sends in one of them.
SLOTS = 20
SLOT_SECONDS = PTIME_SECONDS / SLOTS

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
AUDIO = b'"audio":"'
PAYLOAD = b'"payload":"'
MEDIA_END = b'"}}'


def any_certificate() -> ssl.SSLContext:
    """Return a client context that accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def posted(reader: asyncio.StreamReader) -> Any:
    """Read the JSON document of the next request on a persistent connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return json.loads(await reader.readexactly(length))


class Service(WSListener):  # type: ignore[misc]
    """The Realtime service: returns the caller's audio as the agent's speech."""

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
        if payload.find(APPEND, 0, 60) >= 0:
            start = payload.index(AUDIO) + len(AUDIO)
            audio = payload[start : payload.index(b'"', start)]
            transport.send(WSMsgType.TEXT, DELTA_HEAD + audio + b'"}')
        elif b"session.update" in payload[:60]:
            transport.send(
                WSMsgType.TEXT,
                b'{"type":"session.updated","event_id":"e","session":{"id":"sess_1"}}',
            )


class TalkativeService(Service):
    """The same with transcripts of both sides: a turn every five seconds."""

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
    """Stands in for the server, to measure the delay of the load itself."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


@define
class Samples:
    """Measurements of all callers while C{is_measuring}."""

    is_measuring: bool = False
    sent: int = 0
    received: int = 0
    seconds: list[float] = field(factory=list)


class Caller(WSListener):  # type: ignore[misc]
    """
    One caller over the media stream.

    @param number: its index in the load.
    @ivar first_after: from its first frame to the first that came back, in seconds.
    """

    def __init__(self, samples: Samples, is_raw: bool, number: int = 0) -> None:
        self.samples = samples
        self.is_raw = is_raw
        self.number = number
        self.began = time.monotonic()
        self.first_after = float("nan")
        self.is_open = False
        self.received = 0
        self.transport: Any = None
        self._played_at = 0.0

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
        kind = frame.msg_type
        if kind == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            start = payload.find(PAYLOAD)
            if start >= 0:
                start += len(PAYLOAD)
                self._audio(a2b_base64(payload[start : payload.index(b'"', start)]))
            elif payload.find(b'"mark"', 0, 20) >= 0:
                self._play_mark(payload)
        elif kind == WSMsgType.BINARY:
            self._audio(frame.get_payload_as_bytes())
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            self.is_open = False
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.is_open = False

    def _play_mark(self, payload: bytes) -> None:
        """Return the mark when the audio before it has been played."""
        after = self._played_at - time.monotonic()
        if after <= 0:
            self.transport.send(WSMsgType.TEXT, payload)
        else:
            asyncio.get_running_loop().call_later(after, self._send_mark, payload)

    def _send_mark(self, payload: bytes) -> None:
        if self.is_open:
            self.transport.send(WSMsgType.TEXT, payload)

    def _audio(self, audio: bytes) -> None:
        now = time.monotonic_ns()
        seconds = len(audio) / FRAME_BYTES * PTIME_SECONDS
        self._played_at = max(self._played_at, now / 1e9) + seconds
        samples = self.samples
        for at in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
            if not self.received:
                self.first_after = now / 1e9 - self.began
            self.received += 1
            if samples.is_measuring:
                samples.received += 1
                sent = _STAMP.unpack_from(audio, at)[0]
                if 0 <= now - sent < RECENT_NS:
                    samples.seconds.append((now - sent) / 1e9)

    def send_frame(self) -> None:
        head = _HEAD.pack(time.monotonic_ns(), self.number)
        if self.is_raw:
            self.transport.send(
                WSMsgType.BINARY, head + _FILL[_HEAD.size - _STAMP.size :]
            )
        else:
            encoded = b2a_base64(head, newline=False) + _ENCODED_FILL
            self.transport.send(WSMsgType.TEXT, MEDIA_HEAD + encoded + MEDIA_END)
        if self.samples.is_measuring:
            self.samples.sent += 1


async def start_service(
    service: Callable[[], Service] = Service, tls: ssl.SSLContext | None = None
) -> Any:
    """Listen on a free port of loopback."""
    return await ws_create_server(lambda _: service(), "127.0.0.1", 0, ssl=tls)


async def start_echo() -> Any:
    return await ws_create_server(lambda _: Echo(), "127.0.0.1", 0)


class Talkers:
    """Callers that send frames, independent of their carrier."""

    def __init__(self) -> None:
        self.samples = Samples()
        self.callers: list[Any] = []
        self._slots: list[list[Any]] = [[] for _ in range(SLOTS)]
        self._beat: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._done = 0

    async def measure(self, seconds: float) -> Samples:
        self.samples = Samples(is_measuring=True)
        for caller in self.callers:
            caller.samples = self.samples
        await asyncio.sleep(seconds)
        self.samples.is_measuring = False
        return self.samples

    def talk(self, caller: Any) -> None:
        """Send a frame every 20 ms from now on, as long as the caller is connected."""
        self.callers.append(caller)
        self._slots[random.randrange(SLOTS)].append(caller)
        if self._beat is None:
            self._began = asyncio.get_running_loop().time()
            self._next_slots()

    def _next_slots(self) -> None:
        # One timer of a millisecond for all callers: a task and a timer for each would
        # take a third of the load's time.  Late slots are made up for.
        loop = asyncio.get_running_loop()
        due = int((loop.time() - self._began) / SLOT_SECONDS)
        while self._done < due:
            for caller in self._slots[self._done % SLOTS]:
                if caller.is_open:
                    caller.send_frame()
            self._done += 1
        self._beat = loop.call_later(SLOT_SECONDS, self._next_slots)

    def hush(self) -> None:
        """Stop sending for all callers."""
        if self._beat is not None:
            self._beat.cancel()


class Load(Talkers):
    """
    N calls to one URL.

    @param pause_seconds: between one call and the next.
    """

    def __init__(self, url: str, pause_seconds: float = 0.01) -> None:
        super().__init__()
        self._url = url
        self._pause_seconds = pause_seconds

    async def start(self, calls: int) -> None:
        """Set up the calls one after the other and let them send."""
        is_raw = self._url.endswith("/raw")
        context = any_certificate() if self._url.startswith("wss:") else None
        for number in range(calls):
            caller = Caller(self.samples, is_raw, number)
            await ws_connect(
                lambda caller=caller: caller,
                self._url,
                ssl_context=context,
            )
            self.talk(caller)
            await asyncio.sleep(self._pause_seconds)

    async def stop(self) -> None:
        self.hush()
        for caller in self.callers:
            if caller.is_open:
                caller.transport.send_close()
        await asyncio.sleep(0.5)
        for caller in self.callers:
            caller.transport.disconnect()
