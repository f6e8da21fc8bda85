"""
Sessions that expire during calls: what does a caller lose?

Calls of both carriers talk in bursts to a service that echoes them and announces that
its sessions expire soon.  Each frame contains the time it was sent, so a frame that is
lost or late around a rollover is noticed.  The suite counts rollovers, frames, lost
frames, and rollovers with a frame that was late by more than 200 ms.

    make rollovers
    make rollovers ROLLOVERS="--rollovers 500 --life 30"
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import uvloop
from attrs import frozen
from load import _FILL, _STAMP, APPEND, PTIME_SECONDS, Service
from picows import WSFrame, WSMsgType, WSTransport, ws_create_server

from suites.faults.lines import Line, Stream
from suites.faults.processes import Gateway, deployment
from suites.faults.scene import Scene
from suites.faults.sip_line import SipCall

#: How long a caller talks, and is then silent.
BURST_SECONDS, PAUSE_SECONDS = 1.6, 1.4

#: The time around a rollover that is examined; the delay that a caller would notice.
AROUND_SECONDS, GAP_SECONDS = 1.0, 0.2

_SILENCE = b"\xff" * 160
_SILENT = base64.b64encode(_SILENCE)[:40]


@frozen
class Swap:
    """
    A new session heard a caller for the first time.

    @ivar stamp: of the first frame that it heard.
    """

    at: float
    stamp: int


class Expiring(Service):
    """
    Echoes everything but silence, and expires.

    @cvar life_seconds: the lifetime of a session.
    @cvar swaps: those of all sessions, including the first of each call.
    """

    life_seconds = 30.0
    swaps: list[Swap] = []  # noqa: RUF012

    def __init__(self) -> None:
        self._has_heard = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        until = time.time() + self.life_seconds
        self._timer = asyncio.get_running_loop().call_later(
            self.life_seconds, self._expire, transport
        )
        session = {
            "id": "sess_1",
            "object": "realtime.session",
            "expires_at": int(until),
        }
        self._say(transport, {"type": "session.created", "session": session})

    @staticmethod
    def _say(transport: WSTransport, event: Mapping[str, Any]) -> None:
        transport.send(WSMsgType.TEXT, json.dumps({"event_id": "e", **event}).encode())

    def _expire(self, transport: WSTransport) -> None:
        error = {
            "type": "invalid_request_error",
            "code": "session_expired",
            "message": "Your session hit the maximum duration.",
            "param": None,
            "event_id": None,
        }
        self._say(transport, {"type": "error", "error": error})
        transport.send_close(1001)
        transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._timer.cancel()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            if APPEND in payload[:60]:
                start = payload.index(b'"audio":"') + 9
                if payload[start : start + 40] == _SILENT:
                    return
                if not self._has_heard:
                    self._has_heard = True
                    audio = payload[start : payload.index(b'"', start)]
                    (stamp,) = _STAMP.unpack_from(base64.b64decode(audio))
                    Expiring.swaps.append(Swap(time.monotonic(), stamp))
        super().on_ws_frame(transport, frame)


class Bursts(Line):
    """
    A caller that talks in bursts.

    @ivar came: the stamp of a frame -> when it came back.
    """

    def __init__(self) -> None:
        self.came: dict[int, float] = {}

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        began = due = loop.time() + random.random() * BURST_SECONDS
        while self.is_open:
            await asyncio.sleep(max(0.0, due - loop.time()))
            stamp = time.monotonic_ns()
            if (due - began) % (BURST_SECONDS + PAUSE_SECONDS) > BURST_SECONDS:
                self._send(_SILENCE)
            elif self.is_open:
                self.sent.append(stamp)
                self._send(_STAMP.pack(stamp) + _FILL)
            due += PTIME_SECONDS

    def hear(self, audio: bytes) -> None:
        now = time.monotonic()
        for at in range(0, len(audio) - 159, 160):
            self.came.setdefault(_STAMP.unpack_from(audio, at)[0], now)
        super().hear(audio)


class BurstStream(Bursts, Stream):
    def __init__(self, port: int) -> None:
        Stream.__init__(self, port)
        Bursts.__init__(self)


class BurstSip(Bursts, SipCall):
    def __init__(self, sip_port: int) -> None:
        SipCall.__init__(self, sip_port)
        Bursts.__init__(self)


async def rollovers(wanted: int, calls: int, life_seconds: float) -> bool:
    Expiring.life_seconds = life_seconds
    scene = Scene("rollovers", random.Random(1), True)
    service = await ws_create_server(lambda _: Expiring(), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}"
    lines: list[Bursts] = []
    try:
        gateway = await scene.start(Gateway("rollovers", deployment("only", url, 1)))
        lines += [BurstStream(gateway.port) for _ in range(calls // 2)]
        lines += [BurstSip(gateway.sip_port) for _ in range(calls - len(lines))]
        scene.lines += lines
        await asyncio.gather(*(line.place() for line in lines))
        deadline = time.monotonic() + 3 * life_seconds * wanted / calls + 60.0
        while len(Expiring.swaps) < wanted + calls and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        scene.expect(all(line.is_open for line in lines), "a call has ended")
        for line in lines:
            line.be_quiet()
        await asyncio.sleep(2.0)
        await scene.hang_up()
    finally:
        scene.close()
        service.close()
    owners = {stamp: line for line in lines for stamp in line.sent}
    seen: set[Bursts] = set()
    gaps: dict[str, list[float]] = {"stream": [], "sip": []}
    lost = late = 0
    for swap in Expiring.swaps:
        owner = owners.get(swap.stamp)
        if owner is None or owner not in seen:
            seen.update([owner] if owner else [])
            continue  # its first session
        gap, missing = around(owner, swap)
        gaps[owner.carrier].append(gap)
        lost, late = lost + missing, late + (gap > GAP_SECONDS)
    for carrier, found in gaps.items():
        ordered = sorted(found) or [0.0]
        p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        print(
            f"{carrier:8} {len(found):5} rollovers, extra delay of the latest frame"
            f" p50 {1000 * median(ordered):.0f} ms, p99 {1000 * p99:.0f} ms"
        )
    count = sum(map(len, gaps.values()))
    frames = sum(len(line.sent) for line in lines)
    in_all = sum(line.lost([]) for line in lines)
    for what in scene.broken:
        print(f"BROKEN: {what}")
    print(
        json.dumps(
            {
                "calls": calls,
                "rollovers": count,
                "frames": frames,
                "lost": in_all,
                "lost around rollovers": lost,
                "gaps over 200 ms": late,
                "broken": len(scene.broken),
            }
        )
    )
    return count >= wanted and not (in_all or late or scene.broken)


def around(line: Bursts, swap: Swap) -> tuple[float, int]:
    """
    Examine the frames around a rollover.

    @return: how much later than usual the latest frame came back, in seconds, and how
        many never did.
    """
    delays = [
        line.came[stamp] - stamp / 1e9 for stamp in line.sent if stamp in line.came
    ]
    usual = median(delays) if delays else 0.0
    start, end = swap.at - AROUND_SECONDS, swap.at + AROUND_SECONDS
    near = [stamp for stamp in line.sent if start <= stamp / 1e9 <= end]
    come = [line.came[stamp] - stamp / 1e9 for stamp in near if stamp in line.came]
    return max(0.0, max(come, default=0.0) - usual), len(near) - len(come)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[1])
    parser.add_argument("--rollovers", type=int, default=100)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument(
        "--life", type=float, default=20.0, help="lifetime of a session, in seconds"
    )
    options = parser.parse_args()
    good = uvloop.run(rollovers(options.rollovers, options.calls, options.life))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
