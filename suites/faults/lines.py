"""
Callers of both carriers that know for each of their frames whether it came back.

The service behind the gateway echoes the audio, and the first bytes of a frame
are the time it was sent: a frame whose time does not come back is lost.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time

from load import (
    _FILL,
    _STAMP,
    FRAME_BYTES,
    MEDIA_HEAD,
    PTIME_SECONDS,
    Caller,
    Samples,
)
from picows import WSFrame, WSMsgType, WSTransport, ws_connect

#: The time limit until a call is answered or refused; the gateway's own is shorter.
ANSWER_SECONDS = 40.0

_SILENCE = bytes([0xFF]) * FRAME_BYTES


class Line:
    """
    One call.

    @ivar sent: when each of its frames was sent, in ns of the monotonic clock.
    @ivar heard: those of them that came back.
    @ivar frames: all received frames, including the agent's own speech.
    @ivar stall_seconds: the longest time between two received frames since it was last
        set to 0, including stalls caused by other loads on the machine.
    @ivar is_mute: the caller sends silence, which interrupts no agent.
    @ivar ended: why the call ended, as the other side said; empty: it has not.
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
        """
        Place the call, until it is answered or refused; if answered, start talking.
        """
        raise NotImplementedError

    async def hang_up(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Release the resources of this process."""
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
        """Return whether audio arrives before the call ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not self.frames and not self.ended and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return bool(self.frames)

    def goes_on(self, since: int) -> bool:
        """Return whether the call is open and a frame sent since then has come back."""
        return self.is_open and any(stamp >= since for stamp in self.heard)

    def lost(self, gaps: list[tuple[int, int]]) -> int:
        """
        Count frames that were sent since the agent was connected and never came back.

        @param gaps: frames sent within these times do not count; in ns.
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
        except Exception as error:  # any error means that there is no connection
            self.ended = f"not connected: {error!r}"
            return
        if not self.is_open and not self.ended:
            # picows returns without an error, and reports no close.
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
