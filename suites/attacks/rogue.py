"""
A Realtime service that attacks some of its calls, and tool servers.

It is a separate program: C{python -m suites.attacks.rogue PORT TOOLS_PORT}.  The
agent's instructions select the attack on a call, C{rogue-KIND}; all other calls are
echoed.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

from load import APPEND, Service
from picows import WSFrame, WSMsgType, WSTransport, ws_create_server

#: Tools that the well-behaved model calls at once.
TOOLS_AT_ONCE = 24

#: The length of its answer, which is sent at once.
ANSWER_SECONDS = 600

Made = Callable[[int], bytes]


def event(kind: str, **members: Any) -> bytes:
    return json.dumps({"type": kind, **members}).encode()


def _text(n: int) -> bytes:
    return event("response.output_audio_transcript.delta", item_id="i", delta="x" * 90)


def _items(n: int) -> bytes:
    kind = "response.output_audio_transcript.delta"
    return event(kind, item_id=f"item-{n}", delta="x" * 50_000)


def tool(name: str, n: int) -> bytes:
    kind = "response.function_call_arguments.done"
    ids = {"response_id": "r", "call_id": f"call-{name}-{n}"}
    return event(kind, **ids, name=name, arguments="{}")


def _errors(n: int) -> bytes:
    return event("error", error={"code": "odd", "message": "x" * 2000})


def _unknown(n: int) -> bytes:
    return event(f"what.{n}")


FLOODS: dict[str, Made] = {
    "text": _text,
    "items": _items,
    "tools": lambda n: tool("good", n),
    "errors": _errors,
    "unknown": _unknown,
    "frames": lambda n: event("rate_limits.updated"),
}

#: Events per second of floods that do not run at full speed.
SLOW = {"frames": 2000.0}


class Rogue(Service):
    """
    The service.

    @cvar seen: counts of what happened, served as a page.
    """

    seen: ClassVar[Counter[str]] = Counter()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        super().on_ws_frame(transport, frame)
        if frame.msg_type != WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        if APPEND in payload[:60]:
            return
        if b"function_call_output" in payload:
            self.seen["bad" if b"error" in payload else "good"] += 1
        at = payload.find(b"rogue-")
        if b"session.update" in payload[:60] and at >= 0:
            kind = payload[at + 6 : payload.index(b".", at)].decode()
            self.seen["sessions"] += 1
            asyncio.get_running_loop().create_task(self._play(transport, kind))

    async def _play(self, transport: WSTransport, kind: str) -> None:
        if kind == "well":
            self._answer(transport)
        elif kind == "servers":
            self._call(transport)
        elif kind == "pings":
            await self._flood(transport, lambda _: transport.send_ping(b""), 1e6)
        else:
            made = FLOODS[kind]
            send = lambda n: transport.send(WSMsgType.TEXT, made(n))  # noqa: E731
            await self._flood(transport, send, SLOW.get(kind, 1e6))

    async def _flood(
        self, transport: WSTransport, send: Callable[[int], None], rate: float
    ) -> None:
        at_once = int(min(200, rate / 100))
        for start in count(0, at_once):
            if transport.is_close_frame_sent or self.is_gone:
                return
            for n in range(start, start + at_once):
                send(n)
            await asyncio.sleep(at_once / rate)

    is_gone = False

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.is_gone = True
        self.seen["ended"] += 1

    def _call(self, transport: WSTransport) -> None:
        """Call the tool of each hostile server, twice."""
        transport.send(WSMsgType.TEXT, event("response.created", response={"id": "r"}))
        for n in range(2):
            for name in HOSTILE:
                transport.send(WSMsgType.TEXT, tool(name, n))
        transport.send(WSMsgType.TEXT, event("response.done", response={"id": "r"}))

    def _answer(self, transport: WSTransport) -> None:
        """Send the longest plausible answer, as fast as possible."""
        delta = "fn5+" * 213
        made = [event("response.created", response={"id": "r"})]
        made += [tool("good", n) for n in range(TOOLS_AT_ONCE)]
        for n in range(ANSWER_SECONDS * 10):
            ids = {"response_id": "r", "item_id": "long", "content_index": 0}
            made.append(event("response.output_audio.delta", **ids, delta=delta))
            if n % 4 == 0:
                kind = "response.output_audio_transcript.delta"
                made.append(event(kind, item_id="long", delta="words "))
        made.append(event("response.done", response={"id": "r"}))
        for each in made:
            transport.send(WSMsgType.TEXT, each)


def _bomb(layers: int, size: int) -> bytes:
    data = bytes(size)
    for _ in range(layers):
        data = gzip.compress(data)
    return data


_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

#: The head of the answer, the data that is repeated after it, and the pause in seconds.
HOSTILE: dict[str, tuple[bytes, bytes, float]] = {
    "header": (_OK, b"a: " + b"x" * 4000 + b"\r\n", 0.0),
    "interim": (b"", b"HTTP/1.1 102 On it\r\n\r\n" * 200, 0.0),
    "drip": (_OK + b"Content-Length: 60000\r\n\r\n", b"x", 0.1),
    "bomb": (b"", b"", 0.0),
    "layers": (b"", b"", 0.0),
}


def _encoded(encoding: bytes, body: bytes) -> bytes:
    head = _OK + b"Content-Encoding: " + encoding
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


WHOLE = {
    "bomb": _encoded(b"gzip", _bomb(1, 200 << 20)),
    "layers": _encoded(b"gzip, gzip, gzip", _bomb(3, 200 << 20)),
    "good": _encoded(b"gzip", gzip.compress(b'{"is_good":true}')),
}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            name = head.split()[1].decode().strip("/")
            if name == "seen":
                body = json.dumps(Rogue.seen).encode()
                writer.write(_OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                return
            size = head.lower().partition(b"content-length:")[2].split()[0]
            await reader.readexactly(int(size))
            if name in WHOLE:
                writer.write(WHOLE[name])
                await writer.drain()
                continue
            first, again, pause = HOSTILE[name]
            writer.write(first)
            while True:
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(pause)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port: int, tools_port: int) -> None:
    await ws_create_server(lambda _: Rogue(), "127.0.0.1", port)
    server = await asyncio.start_server(serve, "127.0.0.1", tools_port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
