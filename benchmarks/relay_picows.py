"""
The floor: a relay that does the least possible, with a WebSocket library in C and
uvloop.

It cuts the payload out of each message instead of parsing it, and neither checks nor
paces anything: its cost is that of the kernel, the library and the event loop.  TLS is
in C as well.

    python relay_picows.py PORT AGENT_URL [CHAIN KEY]

With a certificate chain and its key, callers connect over TLS.  C{SSL_CERT_FILE} has
the trusted authority for a wss: URL.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
    ws_create_server,
)

MARKER = b'"payload":"'
DELTA = b'"delta":"'
APPEND = b'{"type":"input_audio_buffer.append","audio":"'
MEDIA = b'{"event":"media","streamSid":"MZ","media":{"payload":"'
UPDATE = b'{"type":"session.update","session":{"type":"realtime"}}'


def audio_after(marker: bytes, frame: WSFrame) -> bytes:
    """Return the text between the marker and the next quote; empty without a marker."""
    payload: bytes = frame.get_payload_as_bytes()
    start = payload.find(marker)
    if start < 0:
        return b""
    start += len(marker)
    return payload[start : payload.index(b'"', start)]


class Agent(WSListener):  # type: ignore[misc]
    def __init__(self, carrier: WSTransport) -> None:
        self._carrier = carrier

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, UPDATE)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            audio = audio_after(DELTA, frame)
            if audio:
                self._carrier.send(WSMsgType.TEXT, MEDIA + audio + b'"}}')
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._carrier.disconnect()


class Carrier(WSListener):  # type: ignore[misc]
    def __init__(self, agent_url: str, context: ssl.SSLContext | None) -> None:
        self._agent_url = agent_url
        self._context = context
        self._agent: Any = None
        self._dialling: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._dialling = asyncio.create_task(self._dial(transport))

    async def _dial(self, transport: WSTransport) -> None:
        self._agent, _ = await ws_connect(
            lambda: Agent(transport), self._agent_url, ssl_context=self._context
        )

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            audio = audio_after(MARKER, frame)
            if audio and self._agent is not None:
                self._agent.send(WSMsgType.TEXT, APPEND + audio + b'"}')
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._agent is not None:
            self._agent.disconnect()


async def serve(port: int, agent_url: str, certificate: list[str]) -> None:
    theirs = ssl.create_default_context() if agent_url.startswith("wss:") else None
    ours = None
    if certificate:
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(*certificate)
    await ws_create_server(
        lambda _: Carrier(agent_url, theirs), "127.0.0.1", port, ssl=ours
    )
    print("listening", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    port, agent_url, *certificate = sys.argv[1:]
    uvloop.run(serve(int(port), agent_url, certificate))


if __name__ == "__main__":
    main()
