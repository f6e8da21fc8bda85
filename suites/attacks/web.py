"""Attacks on the HTTP and WebSocket port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial

from suites.attacks.beside import beside
from suites.faults.lines import Stream
from suites.faults.playing import Play
from suites.faults.processes import Gateway, page
from suites.faults.scene import Scene

CONNECTIONS = 10
PIPELINED_BYTES = 60_000

#: The duration of an attack, in the full form and in the short one.
FULL_SECONDS, SHORT_SECONDS = 5.0, 2.0

_PATHS = ("/metrics", "/health", "/ready", "/api/calls", "/nothing")


def request(path: str, *lines: str) -> bytes:
    head = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", "")
    return "\r\n".join(head).encode()


def deadline(scene: Scene) -> float:
    return time.monotonic() + (SHORT_SECONDS if scene.is_short else FULL_SECONDS)


async def repeated(until: float, once: Callable[[], Awaitable[None]]) -> None:
    """Repeat a request until a time, whatever its outcome."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(8.0):
                await once()
        await asyncio.sleep(0)


async def scrapes(scene: Scene, gateway: Gateway, until: float) -> None:
    """Scrape the metrics ten times as often as Prometheus does, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    while time.monotonic() < until:
        scene.counts["legitimate"] += 1
        status = b""
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(8.0):
                writer.write(request("/metrics"))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                status = head.split()[1]
                size = int(head.partition(b"content-length:")[2].split()[0])
                await reader.readexactly(size)
        if status != b"200":
            scene.counts["legitimate refused"] += 1
            scene.expect(False, f"/metrics was not answered: {status!r}")
            break
        await asyncio.sleep(0.1)
    writer.close()


async def pipelined_requests(scene: Scene, gateway: Gateway) -> None:
    """Many requests at once on each of several connections."""

    async def once(path: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        try:
            one = request(path)
            writer.write(one * (PIPELINED_BYTES // len(one)))
            while await reader.read(65536):
                pass
        finally:
            writer.close()

    until = deadline(scene)
    await asyncio.gather(
        scrapes(scene, gateway, until),
        *(
            repeated(until, partial(once, _PATHS[n % len(_PATHS)]))
            for n in range(CONNECTIONS)
        ),
    )


async def drip(port: int, until: float) -> None:
    """Send requests one byte at a time, each on a new connection."""
    while time.monotonic() < until:
        writer = None
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            for byte in request("/health", "X-Pad: " + 200 * "x"):
                if time.monotonic() > until or writer.is_closing():
                    break
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.05)
        if writer is not None:
            writer.close()


async def balancer(scene: Scene, gateway: Gateway, until: float) -> None:
    """
    Send health checks and ten calls per second from one address, as a balancer does.
    """

    async def call() -> None:
        line = Stream(gateway.port)
        scene.lines.append(line)
        await line.place()
        is_answered = await line.is_answered()
        scene.counts["legitimate refused"] += not is_answered
        scene.expect(is_answered, f"a call was not answered: {line.ended}")
        await line.hang_up()

    calls = []
    while time.monotonic() < until:
        status, text = await page(gateway.port, "/ready")
        scene.counts["legitimate"] += 2
        scene.counts["legitimate refused"] += status != 200
        scene.expect(status == 200, f"/ready did not answer: {status} {text}")
        calls.append(asyncio.create_task(call()))
        await asyncio.sleep(0.1)
    await asyncio.gather(*calls)


async def slow_connections(scene: Scene, gateway: Gateway) -> None:
    """More connections than there is room for, which send little or nothing."""
    silent: list[socket.socket] = []

    async def keep_silent() -> None:
        while time.monotonic() < until:
            for _ in range(40):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", gateway.port))
                silent.append(one)
            await asyncio.sleep(0.05)

    until = deadline(scene)
    await asyncio.gather(
        keep_silent(),
        *(drip(gateway.port, until) for _ in range(100)),
        balancer(scene, gateway, until),
    )
    for one in silent:
        one.close()


async def refused_strangers(scene: Scene, gateway: Gateway) -> None:
    """Requests that are refused, as fast as possible; the log must stay short."""

    async def once(path: str, method: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        try:
            for _ in range(20):
                # From a foreign web page, without a token.
                lines = ("Origin: https://elsewhere.example", "Content-Length: 0")
                asked = request(path, *lines).replace(b"GET", method.encode(), 1)
                writer.write(asked)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = head.partition(b"content-length:")[2].split()
                await reader.readexactly(int(size[0]) if size else 0)
                scene.counts["strangers refused"] += 1
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    until = deadline(scene)
    before = len(gateway.log)
    paths = (("/stream", "GET"), ("/stream/raw", "GET"), ("/api/calls", "POST"))
    await asyncio.gather(
        *(repeated(until, partial(once, *paths[n % len(paths)])) for n in range(12))
    )
    written = len(gateway.log) - before
    print(f"{scene.name:24} {written} bytes of log", flush=True)
    scene.expect(written < MOST_LOGGED, f"{written} bytes of log")


#: Enough for some lines of each kind.
MOST_LOGGED = 30_000

FRAMES = {
    "ping": b"\x89\x80\1\2\3\4",
    "fragment": b"\x01\x80\1\2\3\4\x80\x80\1\2\3\4",
    "empty": b"\x81\x80\1\2\3\4",
}


async def frames_of_nothing(scene: Scene, gateway: Gateway) -> None:
    """Pings, fragments and empty messages as fast as possible, before any start."""

    async def once(frame: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        drain = asyncio.create_task(asyncio.sleep(0, b""))
        try:
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            lines = ("Upgrade: websocket", "Connection: Upgrade", key)
            writer.write(request("/stream", *lines, "Sec-WebSocket-Version: 13"))
            await reader.readuntil(b"\r\n\r\n")
            drain = asyncio.create_task(reader.read(-1))
            while not drain.done():
                writer.write(frame * 500)
                await writer.drain()
                await asyncio.sleep(0)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await drain

    until = deadline(scene)
    frames = list(FRAMES.values())
    await asyncio.gather(
        *(repeated(until, partial(once, frames[n % len(frames)])) for n in range(6)),
        balancer(scene, gateway, until),
    )


async def rebound_names(scene: Scene, gateway: Gateway) -> None:
    """A web page whose name resolves to this machine (DNS rebinding) opens a stream."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", key)
    ours = ("localhost", "127.0.0.1", "[::1]")
    for name in ("evil.test", "localhost.evil.test", "0.0.0.0", *ours):
        host = f"{name}:{gateway.port}"
        lines = (*upgrade, "Sec-WebSocket-Version: 13", f"Origin: http://{host}")
        asked = request("/stream", *lines).replace(b"Host: 127.0.0.1", b"Host: %s")
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(asked % host.encode())
        status = (await reader.readuntil(b"\r\n")).split()[1]
        writer.close()
        is_ours = name in ours
        scene.counts["legitimate"] += is_ours
        scene.counts["legitimate refused"] += is_ours and status != b"101"
        scene.expect(status == (b"101" if is_ours else b"403"), f"{name}: {status!r}")


async def odd_bytes(scene: Scene, gateway: Gateway) -> None:
    """
    Headers, targets and cursors that are not text: no request causes a 5xx answer.
    """
    odd = [bytes((scene.rng.randrange(128, 256),)) for _ in range(20)]
    odd += [b"%ed%a0%80", b"http://[", b"\xed\xa0\x80", b"*"]
    places = (
        b"GET /api/calls HTTP/1.1\r\nAuthorization: Bearer %s\r\n",
        b"GET /stream HTTP/1.1\r\nAuthorization: Bearer %s\r\n",
        b"GET /stream?token=%s HTTP/1.1\r\nOrigin: %s\r\n",
        b"GET /metrics HTTP/1.1\r\nAuthorization: %s\r\n",
        b"POST /api/calls HTTP/1.1\r\nContent-Type: %s\r\nContent-Length: 0\r\n",
        b"GET /api/calls?cursor=%s HTTP/1.1\r\n",
        b"GET %s HTTP/1.1\r\nHost: %s\r\n",
    )
    for place in places:
        for text in odd:
            head = place.replace(b"%s", text)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(head + b"Connection: close\r\n\r\n")
            async with asyncio.timeout(8.0):
                words = (await reader.read()).split()
            writer.close()
            scene.counts["odd requests"] += 1
            # Twisted closes the connection without an answer to an invalid line.
            status = words[1] if len(words) > 1 else b"400"
            scene.expect(status[:1] in b"24", f"{head!r}: {status!r}")


SCENES: dict[str, Play] = {
    "pipelined requests": beside(pipelined_requests),
    "slow connections": beside(slow_connections),
    "refused strangers": beside(refused_strangers),
    "odd bytes": beside(odd_bytes),
    "rebound names": beside(rebound_names),
    "frames of nothing": beside(frames_of_nothing),
}
