"""Attacks on the HTTP and WebSocket port."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial

from suites.attacks.beside import beside
from suites.faults.playing import Play
from suites.faults.processes import Gateway
from suites.faults.scene import Scene

CONNECTIONS = 10
PIPELINED_BYTES = 60_000

#: How long an attack goes on, in the full form and in the short one.
FULL_SECONDS, SHORT_SECONDS = 5.0, 2.0

_PATHS = ("/metrics", "/health", "/ready", "/api/calls", "/nothing")


def request(path: str, *lines: str) -> bytes:
    head = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", "")
    return "\r\n".join(head).encode()


def deadline(scene: Scene) -> float:
    return time.monotonic() + (SHORT_SECONDS if scene.is_short else FULL_SECONDS)


async def repeated(until: float, once: Callable[[], Awaitable[None]]) -> None:
    """Again and again, whatever becomes of it."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(8.0):
                await once()
        await asyncio.sleep(0)


async def scrapes(scene: Scene, gateway: Gateway, until: float) -> None:
    """A legitimate peer: ten times as often as Prometheus, on one connection."""
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
    """Many requests at once on each of some connections."""

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


SCENES: dict[str, Play] = {"pipelined requests": beside(pipelined_requests)}
