"""Two hundred calls, whose resources must all be released."""

from __future__ import annotations

import asyncio
from typing import Any

from suites.faults.playing import Play
from suites.faults.processes import Echoes, until
from suites.faults.scene import Scene
from suites.rtc.agents import gateway_of
from suites.rtc.gateways import held_places, started
from suites.rtc.line import RtcCall
from suites.rtc.peers import Aiortc
from suites.rtc.realtime import Realtime

CALLS, AT_ONCE = 200, 40
SHORT_CALLS, SHORT_AT_ONCE = 40, 20

#: Permitted lost frames per call: a third of a second.
MOST_LOST_FRAMES = 15

#: aiortc needs half a processor.
FOREIGN_AT_ONCE = 10


async def _idle(
    scene: Scene, gateway: Any, before: dict[str, int], *whats: str
) -> None:
    """
    Expect that the gateway is idle again.

    @param whats: the resources of which it must hold no more than before.
    """
    found: dict[str, int] = {}

    async def is_so() -> bool:
        found.update(await held_places(gateway))
        is_less = all(found[what] <= before[what] for what in whats)
        return found["calls"] == 0 and is_less

    ok = await until(is_so, 30.0)
    for what in whats:
        scene.counts["sockets left"] += max(0, found[what] - before[what])
    scene.expect(ok, f"held at the end: {found}, at the start: {before}")


async def callers(scene: Scene) -> None:
    """Calls of which half hang up by DELETE, the others by DTLS."""
    gateway = await started(scene, await scene.run(Echoes()))
    # The scene is about leaks; the start of many calls at once is a heavy load.
    scene.most_lost = MOST_LOST_FRAMES
    calls, at_once = (
        (SHORT_CALLS, SHORT_AT_ONCE) if scene.is_short else (CALLS, AT_ONCE)
    )
    before = await held_places(gateway)
    for start in range(0, calls, at_once):
        lines: list[Any] = [RtcCall(gateway.port) for _ in range(at_once)]
        scene.lines += lines
        scene.counts["calls"] += len(lines)
        await asyncio.gather(*(line.place() for line in lines))
        await scene.answered(lines, f"calls from {start}")
        await asyncio.sleep(2.0)
        await scene.hush(lines)
        found = await held_places(gateway)
        scene.expect(found["calls"] == at_once, f"{found} with {at_once} calls")
        scene.counts["most sockets"] = max(
            scene.counts["most sockets"], found["sockets"] - before["sockets"]
        )
        for line in lines[::2]:
            line.dtls.shutdown()
        await asyncio.gather(*(line.hang_up() for line in lines[1::2]))
        await _idle(scene, gateway, before, "sockets", "UDP sockets")
        for line in lines:
            line.is_open = False
            line.close()
    await scene.finish(gateway)


async def agents(scene: Scene) -> None:
    """Sessions with aiortc, in waves."""
    stack = await scene.run(Aiortc())
    realtime = await scene.run(Realtime(stack.peer))
    gateway = await gateway_of(scene, realtime)
    calls, at_once = (10, 5) if scene.is_short else (CALLS, FOREIGN_AT_ONCE)
    before = await held_places(gateway)
    for start in range(0, calls, at_once):
        lines = await scene.call(gateway, at_once, 0.5)
        await scene.answered(lines, f"calls from {start}")
        await scene.hang_up(lines)
        whats = ("sockets", "UDP sockets") if start else ("UDP sockets",)
        await _idle(scene, gateway, before, *whats)
        if not start:
            # Connections to the service are kept for the next calls.
            before = await held_places(gateway)
    hung_up = sum(call.is_hung_up for call in realtime.calls.values())
    scene.expect(hung_up == calls, f"{hung_up} of {calls} calls were hung up")
    scene.expect(not realtime.wrong, f"wrong requests: {realtime.wrong[:3]}")
    await scene.finish(gateway)


SCENES: dict[str, Play] = {"many callers": callers, "many agents": agents}
