"""
The same relay on aiortc: a caller's WebSocket in, the Realtime API over WebRTC out.

It is written in aiortc's usual style: a track in each direction, which the library
encodes and decodes; PCMU on both sides, so that nothing else is transcoded.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpsender import RTCRtpSender
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
    ws_create_server,
)
from rtc_end import HOST, request

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode, encode

MARKER = b'"payload":"'
MEDIA = b'{"event":"media","streamSid":"MZ","media":{"payload":"'
UPDATE = b'{"type":"session.update","session":{"type":"realtime"}}'


class FromCaller(MediaStreamTrack):  # type: ignore[misc]
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[bytes] = asyncio.Queue(50)
        self._at = 0

    async def recv(self) -> Any:
        linear = decode(PCMU, await self.frames.get()).tobytes()
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(linear) // 2)
        frame.planes[0].update(linear)
        frame.sample_rate, frame.pts = 8000, self._at
        frame.time_base = Fraction(1, 8000)
        self._at += frame.samples
        return frame


class Sideband(WSListener):  # type: ignore[misc]
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, UPDATE)


class Carrier(WSListener):  # type: ignore[misc]
    def __init__(self, agent_port: int) -> None:
        self._agent_port = agent_port
        self._track = FromCaller()
        self._peer = RTCPeerConnection()
        self._tasks: list[asyncio.Task[None]] = []
        self._transport: Any = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._tasks.append(asyncio.create_task(self._join()))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            start = payload.find(MARKER)
            if start >= 0 and not self._track.frames.full():
                start += len(MARKER)
                audio = payload[start : payload.index(b'"', start)]
                self._track.frames.put_nowait(base64.b64decode(audio))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.append(asyncio.create_task(self._peer.close()))

    async def _join(self) -> None:
        peer, base = self._peer, "/openai/v1/realtime"
        peer.addTrack(self._track)
        known = RTCRtpSender.getCapabilities("audio").codecs
        pcmu = [codec for codec in known if codec.mimeType == "audio/PCMU"]
        peer.getTransceivers()[0].setCodecPreferences(pcmu)

        def on_track(track: Any) -> None:
            self._tasks.append(asyncio.create_task(self._return(track)))

        peer.on("track", on_track)
        session = {"session": {"type": "realtime", "model": "benchmark"}}
        _, _, minted = await request(
            self._agent_port,
            *("POST", f"{base}/client_secrets", json.dumps(session).encode()),
            api_key="benchmark",
            Content_Type="application/json",
        )
        await peer.setLocalDescription(await peer.createOffer())
        _, headers, answer = await request(
            self._agent_port,
            *("POST", f"{base}/calls", peer.localDescription.sdp.encode()),
            Authorization=f"Bearer {json.loads(minted)['value']}",
            Content_Type="application/sdp",
        )
        await peer.setRemoteDescription(
            RTCSessionDescription(answer.decode(), "answer")
        )
        call_id = headers["location"].rsplit("/", 1)[1]
        url = f"ws://{HOST}:{self._agent_port}{base}?call_id={call_id}"
        await ws_connect(Sideband, url)

    async def _return(self, track: Any) -> None:
        while True:
            frame = await track.recv()
            linear = np.frombuffer(frame.planes[0], np.int16)[: frame.samples]
            encoded = base64.b64encode(encode(PCMU, linear))
            self._transport.send(WSMsgType.TEXT, MEDIA + encoded + b'"}}')


async def serve(port: int, agent_port: int) -> None:
    await ws_create_server(lambda _: Carrier(agent_port), HOST, port)
    print("listening", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    port, url = sys.argv[1:]
    asyncio.run(serve(int(port), int(url.split(":")[2].split("/")[0])))


if __name__ == "__main__":
    main()
