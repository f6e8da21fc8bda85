"""Take-overs by new processes during calls: no call may be lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path

from suites.faults.lines import Line
from suites.faults.machine import with_echoes
from suites.faults.playing import Play
from suites.faults.processes import Gateway, until
from suites.faults.scene import Scene

CALLS = 16
TIMES, SHORT_TIMES = 5, 2

#: docs/howto/take-over.md: takeover_seconds.
TAKE_OVER_SECONDS = 60.0

_STARTED = re.compile(r"a successor was started: process (\d+)")
_TAKEN = "now takes every new call"


def processes(gateway: Gateway) -> list[int]:
    """Return the pids of all processes so far, the newest last."""
    return [gateway.process.pid, *map(int, _STARTED.findall(gateway.log))]


def runs(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def take_over(scene: Scene, gateway: Gateway) -> None:
    count = gateway.log.count(_TAKEN)
    os.kill(processes(gateway)[-1], signal.SIGUSR2)
    taken = await until(
        lambda: gateway.log.count(_TAKEN) > count, TAKE_OVER_SECONDS, 0.02
    )
    if not taken:
        raise RuntimeError("no successor took over")
    scene.counts["take-overs"] += 1


async def takeovers(scene: Scene) -> None:
    """Several take-overs, with calls in each of the processes."""
    gateway = await with_echoes(scene, "takeovers")
    lines = await scene.call(gateway, CALLS)
    await scene.answered(lines, "calls before")
    for line in lines:
        line.stall_seconds = 0.0
    more: list[Line] = []
    is_over = False

    async def come() -> None:
        # A caller has to be answered at any moment of a take-over.
        while not is_over:
            more.extend(await scene.call(gateway, 1, 0.0))
            await asyncio.sleep(0.4)

    coming = asyncio.create_task(come())
    times = SHORT_TIMES if scene.is_short else TIMES
    for _ in range(times):
        await take_over(scene, gateway)
        await asyncio.sleep(scene.rng.uniform(0.5, 1.5))
        await scene.go_on(lines, "calls of an older process")
        if len(more) > CALLS:
            gone, more[:] = more[:-CALLS], more[-CALLS:]
            await scene.answered(gone, "calls during a take-over")
            await scene.hang_up(gone)
    is_over = True
    await coming
    await scene.answered(more, "calls during a take-over")
    await scene.go_on(lines, "calls of the first process")
    scene.counts["longest stall, ms"] = round(
        1000 * max(line.stall_seconds for line in lines)
    )
    await scene.hush([*lines, *more])
    await scene.hang_up()
    pids = processes(gateway)
    scene.expect(len(pids) == times + 1, f"{len(pids)} processes")
    older = pids[:-1]
    scene.expect(
        await until(lambda: not any(map(runs, older)), 60.0),
        f"older processes without calls run: {[pid for pid in older if runs(pid)]}",
    )
    placed = scene.counts["calls"]
    await until(lambda: len(gateway.rows()) >= placed, 15.0, 0.5)
    records = len(gateway.rows())
    scene.counts["records"] += records
    scene.expect(records == placed, f"{records} records of {placed} calls")
    left = await gateway.held()
    scene.counts["held"] += sum(left.values())
    scene.expect(not left, f"held at the end: {left}")
    gateway.is_told_to_stop = True
    with contextlib.suppress(OSError):
        os.kill(pids[-1], signal.SIGTERM)
    scene.expect(await until(lambda: not any(map(runs, pids)), 40.0), "it did not stop")
    scene.look_at_log(gateway.log)


def ending_all(play: Play) -> Play:
    """Wrap a scene so that all of its processes are killed at the end."""

    async def played(scene: Scene) -> None:
        try:
            await play(scene)
        finally:
            for gateway in scene.gateways:
                for pid in filter(runs, processes(gateway)):
                    os.kill(pid, signal.SIGKILL)

    return played


SCENES = {"take-overs": ending_all(takeovers)}
