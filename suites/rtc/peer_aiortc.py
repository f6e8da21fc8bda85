"""
A program that controls aiortc by lines of JSON (see L{suites.rtc.peers}).

C{python -m suites.rtc.peer_aiortc}
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fractions
import json
import random
import struct
import sys
from typing import Any

import aioice.ice
import aiortc
import av
import numpy
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription

RATE = 8000
FRAME = 160

# aioice does not gather loopback addresses, and there are no others here.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Speech(aiortc.MediaStreamTrack):  # type: ignore[misc]
    """A track with samples, followed by silence."""

    kind = "audio"

    def __init__(self, audio: bytes) -> None:
        super().__init__()
        self.audio = audio
        self._at = 0
        self._count = 0
        self._due = 0.0

    def say(self, audio: bytes) -> None:
        self.audio, self._at = audio, 0

    async def recv(self) -> Any:
        now = asyncio.get_running_loop().time()
        if not self._due or now > self._due + 0.2:
            self._due = now
        await asyncio.sleep(max(0.0, self._due - now))
        self._due += FRAME / RATE
        part = self.audio[self._at : self._at + 2 * FRAME]
        self._at += 2 * FRAME
        samples = numpy.frombuffer(part.ljust(2 * FRAME, b"\0"), dtype="<i2")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "mono")
        frame.sample_rate = RATE
        frame.pts = self._count
        frame.time_base = fractions.Fraction(1, RATE)
        self._count += FRAME
        return frame


class Call:
    def __init__(self, audio: bytes | None) -> None:
        self.connection: Any = aiortc.RTCPeerConnection()
        self.heard = bytearray()
        self.speech = None if audio is None else Speech(audio)
        self._relay = MediaRelay()
        self._tasks: list[asyncio.Task[None]] = []
        self.sender: Any = None
        if self.speech is not None:
            self.sender = self.connection.addTrack(self.speech)
        self.connection.on("track", self._came)
        self.channel: Any = None
        self._told: list[str] = []
        self.connection.on("datachannel", self._channel_came)

    def _came(self, track: Any) -> None:
        if self.speech is None:
            # Echo each frame as it arrives.
            self.sender = self.connection.addTrack(self._relay.subscribe(track))
        hearing = self._hear(self._relay.subscribe(track))
        self._tasks.append(asyncio.create_task(hearing))

    def _channel_came(self, channel: Any) -> None:
        self.channel = channel
        channel.on("message", self._told.append)

    def told(self) -> list[str] | None:
        found = None if self.channel is None else self._told[:]
        self._told.clear()
        return found

    async def _hear(self, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.heard += frame.to_ndarray().astype("<i2").tobytes()

    def prefer_pcmu(self) -> None:
        """Offer only PCMU; telephone-event is added later, aiortc does not know it."""
        known = aiortc.RTCRtpSender.getCapabilities("audio").codecs
        pcmu = [codec for codec in known if codec.mimeType == "audio/PCMU"]
        for transceiver in self.connection.getTransceivers():
            transceiver.setCodecPreferences(pcmu)

    async def offer(self) -> str:
        if self.speech is None:
            self.connection.addTransceiver("audio", direction="sendrecv")
        self.prefer_pcmu()
        await self.connection.setLocalDescription(await self.connection.createOffer())
        text = str(self.connection.localDescription.sdp)
        lines = []
        for line in text.split("\r\n"):
            if line.startswith("m=audio"):
                line += " 101"
            lines.append(line)
            if line.startswith("a=rtpmap:0 "):
                lines.append("a=rtpmap:101 telephone-event/8000")
                lines.append("a=fmtp:101 0-15")
        return "\r\n".join(lines)

    async def accept(self, sdp: str) -> None:
        # Remove telephone-event, which aiortc does not know.
        SessionDescription.parse(sdp)
        lines = [line for line in sdp.split("\r\n") if ":101 " not in line]
        lines = [
            line.replace(" 101", "") if line.startswith("m=audio") else line
            for line in lines
        ]
        await self.connection.setRemoteDescription(
            aiortc.RTCSessionDescription("\r\n".join(lines), "answer")
        )

    async def answer(self, sdp: str) -> str:
        await self.connection.setRemoteDescription(
            aiortc.RTCSessionDescription(sdp, "offer")
        )
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return str(self.connection.localDescription.sdp)

    async def press(self, digits: str) -> None:
        transport = self.sender.transport
        ssrc = self.sender._ssrc
        number = random.randrange(1 << 15)
        timestamp = random.randrange(1 << 31)
        for digit in digits:
            event = "0123456789*#ABCD".index(digit)
            for n in range(1, 9):
                number = (number + 1) & 0xFFFF
                is_last = n > 5
                kind = 101 | (0x80 if n == 1 else 0)
                header = struct.pack("!BBHII", 0x80, kind, number, timestamp, ssrc ^ 1)
                size = 160 * min(n, 6)
                body = struct.pack("!BBH", event, 10 | (0x80 * is_last), size)
                await transport._send_rtp(header + body)
                if not is_last:
                    await asyncio.sleep(0.02)
            timestamp = (timestamp + 2400) & 0xFFFFFFFF
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.connection.close()


class Program:
    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    async def do(self, asked: dict[str, Any]) -> Any:
        what, name = asked["do"], asked.get("call", "")
        if what == "ready":
            return aiortc.__version__
        audio = base64.b64decode(asked["audio"]) if "audio" in asked else None
        if what in ("offer", "answer"):
            call = self._calls[name] = Call(audio)
            return await (
                call.offer() if what == "offer" else call.answer(asked["sdp"])
            )
        call = self._calls[name]
        if what == "accept":
            await call.accept(asked["sdp"])
        elif what == "heard":
            return base64.b64encode(bytes(call.heard)).decode()
        elif what == "state":
            return call.connection.connectionState
        elif what == "keys":
            await call.press(asked["digits"])
        elif what == "say" and call.speech is not None:
            call.speech.say(audio or b"")
        elif what == "tell":
            call.channel.send(asked["text"])
        elif what == "told":
            return call.told()
        elif what == "close":
            await call.close()
        return None

    async def answer(self, line: bytes) -> None:
        asked = json.loads(line)
        try:
            said = {"id": asked["id"], "value": await self.do(asked)}
        except Exception as error:  # errors of the stack are reported
            said = {"id": asked["id"], "error": repr(error)}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

    async def run(self) -> None:
        reader = asyncio.StreamReader(limit=1 << 24)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        tasks = set()
        while line := await reader.readline():
            task = asyncio.create_task(self.answer(line))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(Program().run())
