"""Attacks on the HTTP and WebSocket port."""

from __future__ import annotations

import asyncio
import contextlib

from suites.attacks.beside import beside
from suites.faults.playing import Play
from suites.faults.processes import Gateway
from suites.faults.scene import Scene

CONNECTIONS = 10
PIPELINED_BYTES = 60_000

_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def pipelined_requests(scene: Scene, gateway: Gateway) -> None:
    """Many requests at once on each of some connections."""

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        with contextlib.suppress(OSError):
            writer.write(_REQUEST * (PIPELINED_BYTES // len(_REQUEST)))
            async with asyncio.timeout(8.0):
                while await reader.read(65536):
                    pass
        writer.close()

    tried = [asyncio.create_task(ask()) for _ in range(CONNECTIONS)]
    await asyncio.wait(tried)


SCENES: dict[str, Play] = {"pipelined requests": beside(pipelined_requests)}
