"""A gateway with WebRTC, and what is left in it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from run import free_port, held

from suites.faults.processes import Gateway, deployment
from suites.faults.scene import Scene


async def started(scene: Scene, service: Any, **env: Any) -> Gateway:
    """For callers over WebRTC, with an agent over WebSocket."""
    port = free_port()
    settings = deployment("only", service.url, 1)
    ways = (f"{way}:{port}:interface=127.0.0.1" for way in ("udp", "tcp"))
    made: dict[str, Any] = {"CHIMEGW_WEBRTC_LISTEN": ",".join(ways), **env}
    return await scene.start(Gateway("rtc", settings, **made))


async def held_places(gateway: Gateway) -> dict[str, int]:
    """Calls and descriptors, now."""
    try:
        found = await asyncio.to_thread(held, gateway.port)
    except OSError:
        found = {"calls": -1}
    found["descriptors"] = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
    found["sockets"] = sockets_of(gateway.process.pid)
    return found


def sockets_of(pid: int) -> int:
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return count
