"""Attacks by a Realtime service, and by tool servers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from server import free_port, server_env, wait_for

from suites.attacks.beside import beside_service
from suites.attacks.rogue import FLOODS, HOSTILE, TOOLS_AT_ONCE
from suites.faults.playing import Play
from suites.faults.processes import Gateway, deployment, page, until
from suites.faults.scene import Scene

#: A flood must end its call within this time; 2000 frames per second take 13 s, twice.
ENDED_SECONDS = 60.0

#: Limits for any attack: log bytes per hour, and growth of the process's memory.
MOST_LOG_BYTES_PER_HOUR = 200 << 20
MOST_MEMORY = 150 << 20


class RogueService:
    """L{suites.attacks.rogue} in a separate process."""

    def __init__(self) -> None:
        self.port, self.tools_port = free_port(), free_port()
        root = Path(__file__).parents[2]
        paths = f"{root}:{root / 'benchmarks'}"
        self._process = subprocess.Popen(
            [
                *("nice", "-n", "10"),
                *(sys.executable, "-m", "suites.attacks.rogue"),
                *(str(self.port), str(self.tools_port)),
            ],
            env={**server_env(0, 0), "PYTHONPATH": paths},
        )

    async def listens(self) -> None:
        await asyncio.to_thread(wait_for, self.port, 60.0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def seen(self) -> dict[str, int]:
        status, body = await page(self.tools_port, "/seen")
        found: dict[str, int] = json.loads(body) if status == 200 else {}
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def memory(gateway: Gateway) -> int:
    text = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) << 10


async def floods(scene: Scene, gateway: Gateway) -> None:
    """Each call under attack ends; the others go on."""
    # Seven floods and four answers of ten minutes at once need a core for seconds.
    scene.most_lost = 12
    service = scene.others[0]
    before, held = len(gateway.log), memory(gateway)
    began = time.monotonic()
    well = await scene.call(gateway, 4, agent="well")
    kinds = [kind for kind in KINDS if not (scene.is_short and kind == "frames")]
    flooded = []
    for kind in kinds:
        flooded += await scene.call(gateway, 1, 0.0, agent=kind)
    seconds = ENDED_SECONDS
    await until(lambda: all(line.ended for line in flooded), seconds)
    over = [line for line in flooded if not line.ended]
    scene.expect(not over, f"{len(over)} of {len(flooded)} flooded calls did not end")
    await until(lambda: _answered(service, 4 * TOOLS_AT_ONCE), 10.0)
    seen = await service.seen()
    scene.counts["legitimate"] += 4 * TOOLS_AT_ONCE + len(well)
    ended = sum(bool(line.ended) for line in well)
    missing = max(0, 4 * TOOLS_AT_ONCE - seen.get("good", 0))
    scene.counts["legitimate refused"] += ended + missing
    scene.expect(not ended and not missing, f"good calls: {ended} ended, {seen}")
    took = time.monotonic() - began
    report(scene, gateway, before, took, held)


async def _answered(service: RogueService, count: int) -> bool:
    return (await service.seen()).get("good", 0) >= count


def report(
    scene: Scene, gateway: Gateway, before: int, seconds: float, held: int
) -> None:
    an_hour = (len(gateway.log) - before) / seconds * 3600
    more = memory(gateway) - held
    print(
        f"{scene.name:24} log {an_hour / (1 << 20):.1f} MB an hour,"
        f" memory {more / (1 << 20):+.0f} MB",
        flush=True,
    )
    scene.expect(an_hour < MOST_LOG_BYTES_PER_HOUR, f"{an_hour:.0f} B of log an hour")
    scene.expect(more < MOST_MEMORY, f"{more} B of memory more")


async def servers(scene: Scene, gateway: Gateway) -> None:
    """Every hostile answer is reported to the model as an error."""
    service = scene.others[0]
    before, held = len(gateway.log), memory(gateway)
    began = time.monotonic()
    await scene.call(gateway, 2, agent="servers")
    await scene.call(gateway, 4, agent="well")
    wanted = 2 * 2 * len(HOSTILE)

    async def all_answered() -> bool:
        seen = await service.seen()
        good = seen.get("good", 0) >= 4 * TOOLS_AT_ONCE
        return bool(good and seen.get("bad", 0) >= wanted)

    scene.expect(await until(all_answered, 20.0), f"{await service.seen()}")
    seen = await service.seen()
    scene.expect(seen.get("bad", 0) == wanted, f"hostile answers accepted: {seen}")
    scene.counts["legitimate"] += 4 * TOOLS_AT_ONCE
    missing = max(0, 4 * TOOLS_AT_ONCE - seen.get("good", 0))
    scene.counts["legitimate refused"] += missing
    report(scene, gateway, before, time.monotonic() - began, held)


KINDS = (*FLOODS, "pings")


def settings(service: RogueService) -> str:
    names = (*KINDS, "well", "servers")
    tools = (*HOSTILE, "good")
    agents = (
        f"[agents.{n}]\ninstructions = 'rogue-{n}.'\ntools = {list(tools)}\n"
        for n in names
    )
    urls = (
        f"[tools.{name}]\ndescription = 'One.'\ntimeout_seconds = 3\n"
        f"url = 'http://127.0.0.1:{service.tools_port}/{name}'\n"
        for name in tools
    )
    return deployment("only", service.url, 1) + "".join((*agents, *urls))


SCENES: dict[str, Play] = {
    "floods of a service": beside_service(floods, RogueService, settings),
    "servers of tools": beside_service(servers, RogueService, settings),
}
