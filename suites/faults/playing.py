"""
Scenes played in parallel, each with its own gateway and time limit.

Callers talk in real time, so a busy machine can break a scene as well as the gateway.
A scene that failed is played once more, alone; if it passes then, the machine was at
fault.  Tracebacks and resources held at the end are not excused: they count at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from suites.faults.scene import Scene

Play = Callable[[Scene], Awaitable[None]]


async def play(
    name: str, scene_of: Play, seed: int, seconds: float, *, is_short: bool
) -> Scene:
    """Play one scene within a time limit, and end everything that it started."""
    scene = Scene(name, random.Random(f"{seed} {name}"), is_short)
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await scene_of(scene)
    except Exception as error:  # an aborted scene is the result of this scene only
        scene.broken.append(f"aborted: {error!r}")
    finally:
        scene.close()
    counts = ", ".join(f"{what} {count}" for what, count in scene.counts.items())
    print(f"{name:24} {time.monotonic() - began:5.1f} s  {counts}", flush=True)
    for what in scene.broken:
        print(f"    BROKEN: {what[:1500]}", flush=True)
    for gateway in scene.gateways if scene.broken else ():
        print(f"    its log: {gateway.log_path}", flush=True)
    return scene


async def play_all(
    scenes: Mapping[str, Play],
    names: Sequence[str],
    seed: int,
    *,
    at_once: int,
    seconds: float,
    is_short: bool,
) -> tuple[Counter[str], int]:
    """
    Play scenes in an order drawn from the seed.

    @param seconds: the time limit of each.
    @return: all counts, and the number of violations.
    """
    free = asyncio.Semaphore(at_once)
    names = list(names)
    random.Random(seed).shuffle(names)

    async def one(name: str) -> Scene:
        async with free:
            return await play(name, scenes[name], seed, seconds, is_short=is_short)

    began = time.monotonic()
    played = await asyncio.gather(*map(one, names))
    counts = Counter({"scenes": len(played)})
    broken = 0
    for scene in played:
        if scene.broken and not scene.is_wrong_at_any_speed:
            counts["played again"] += 1
            print(f"{scene.name}: repeated alone", flush=True)
            scene = await one(scene.name)
        counts.update(scene.counts)
        broken += len(scene.broken)
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    return counts, broken
