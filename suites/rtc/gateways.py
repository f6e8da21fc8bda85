"""A gateway with WebRTC, and the resources it holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from server import free_port, held

from suites.faults.processes import Gateway, deployment
from suites.faults.scene import Scene


async def started(scene: Scene, service: Any, **env: Any) -> Gateway:
    """Start a gateway for callers over WebRTC, with an agent over WebSocket."""
    port = free_port()
    settings = deployment("only", service.url, 1)
    ways = (f"{way}:{port}:interface=127.0.0.1" for way in ("udp", "tcp"))
    made: dict[str, Any] = {
        "CHIMEGW_WEBRTC_LISTEN": ",".join(ways),
        # Any site; a page from a file has none.
        "CHIMEGW_WEBRTC_ORIGINS": "*",
        **env,
    }
    return await scene.start(Gateway("rtc", settings, **made))


async def held_places(gateway: Gateway) -> dict[str, int]:
    """Count the gateway's calls, descriptors and sockets."""
    try:
        found = await asyncio.to_thread(held, gateway.port)
    except OSError:
        found = {"calls": -1}
    found["descriptors"] = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
    sockets = _sockets_of(gateway.process.pid)
    found["sockets"] = len(sockets)
    found["UDP sockets"] = len(sockets & _udp_sockets())
    return found


def _sockets_of(pid: int) -> set[str]:
    """Return the inodes of a process's sockets."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":")
            if kind == "socket":
                found.add(inode.strip("[]"))
    return found


def _udp_sockets() -> set[str]:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return {line.split()[9] for line in lines}
