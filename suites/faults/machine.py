"""Faults of the process and its machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from suites.faults.processes import Echoes, Gateway, deployment, until
from suites.faults.scene import Scene

STOP_SECONDS = 3.0

#: Frames that do not count: those in transit before a stop, and late ones after it.
BEFORE_SECONDS, AFTER_SECONDS = 1.0, 3.0

WITHOUT_MEMORY_SECONDS = 6.0

#: The smallest pipe of Linux.
PIPE_BYTES = 4096


async def with_echoes(scene: Scene, name: str, **options: Any) -> Gateway:
    echoes = await scene.run(Echoes())
    settings = deployment("only", echoes.url, 1) + options.pop("settings", "")
    return await scene.start(Gateway(name, settings, **options))


def open_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def stopped(scene: Scene) -> None:
    gateway = await with_echoes(scene, "stopped")
    lines = await scene.call(gateway, 12)
    await scene.answered(lines, "calls before")
    for _ in range(1 if scene.is_short else 5):
        await asyncio.sleep(scene.rng.uniform(1.0, 2.0))
        stopped_at = time.monotonic_ns()
        gateway.send(signal.SIGSTOP)
        await asyncio.sleep(STOP_SECONDS)
        gateway.send(signal.SIGCONT)
        went_on_at = time.monotonic_ns()
        start = stopped_at - round(BEFORE_SECONDS * 1e9)
        scene.gaps.append((start, went_on_at + round(AFTER_SECONDS * 1e9)))
        await scene.go_on(lines, "calls after a stop")
        await asyncio.sleep(AFTER_SECONDS)
        await scene.go_on(lines, "calls some seconds after a stop")
        scene.expect(await gateway.is_ready(), "not ready after a stop")
    await asyncio.sleep(2.0)
    await scene.hush(lines)
    await scene.finish(gateway)


async def descriptors(scene: Scene) -> None:
    """File descriptors run out because of calls, then completely, and are freed."""
    gateway = await with_echoes(scene, "descriptors")
    pid = gateway.process.pid
    lines = await scene.call(gateway, 8)
    await scene.answered(lines, "calls before")
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    for _ in range(1 if scene.is_short else 4):
        few = open_descriptors(pid) + scene.rng.randrange(30, 50)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, usual[1]))
        more = await scene.call(gateway, 30, 2.0)
        await scene.settled(more)
        taken = [line for line in more if line.frames]
        await scene.refused(
            [line for line in more if not line.frames], "calls without descriptors"
        )
        scene.expect(len(taken) < len(more), f"none refused with {few} descriptors")
        scene.expect(
            await until(gateway.is_not_ready, 10.0), "ready without descriptors"
        )
        await scene.go_on(lines, "calls with few descriptors left")
        # docs/reference/capacity.md: with none left, connections are closed.
        scene.excused = ("closed", "reset")
        idle = []
        with contextlib.suppress(OSError):
            for _ in range(60):
                idle.append(await asyncio.open_connection("127.0.0.1", gateway.port))
        await scene.go_on(lines, "calls with no descriptors left")
        for _, writer in idle:
            writer.close()
        await scene.hang_up(taken)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        scene.expect(
            await until(gateway.is_ready, 15.0), "not ready with descriptors again"
        )
        scene.excused = ()
        after = await scene.call(gateway, 8)
        await scene.answered(after, "calls with descriptors again")
        await scene.hang_up(after)
    await scene.go_on(lines, "calls at the end")
    await scene.hush(lines)
    await scene.finish(gateway)


async def memory(scene: Scene) -> None:
    """Address space runs out during new calls, and is available again."""
    # docs/reference/log.md: a call that ends with C{internal_error} has a traceback.
    scene.may_lack = "MemoryError"
    gateway = await with_echoes(
        scene, "memory", CHIMEGW_RECORDINGS=tempfile.mkdtemp(prefix="chimegw-chaos-")
    )
    pid = gateway.process.pid
    lines = await scene.call(gateway, 8)
    await scene.answered(lines, "calls before")
    usual = resource.prlimit(pid, resource.RLIMIT_AS)
    for _ in range(1 if scene.is_short else 4):
        # No more pages than now, until Python's own free ones are used up.
        scene.excused = ("closed", "reset", "Timeout")
        resource.prlimit(pid, resource.RLIMIT_AS, (0, usual[1]))
        calling = asyncio.create_task(scene.call(gateway, 100, 3.0))
        await asyncio.sleep(WITHOUT_MEMORY_SECONDS)
        resource.prlimit(pid, resource.RLIMIT_AS, usual)
        # Each call is answered, or ends and is freed; which one fails is random.
        more = await calling
        await scene.settled(more)
        scene.excused = ()
        odd = [line for line in more if not line.frames and not line.ended]
        why = Counter(f"{line.carrier}, {'open' * line.is_open}" for line in odd)
        scene.expect(not odd, f"{len(odd)} calls hang: {dict(why)}")
        scene.counts["without memory"] += sum(not line.frames for line in more)
        await scene.hang_up(more)
        scene.expect(await until(gateway.is_ready, 15.0), "not ready with memory again")
        after = await scene.call(gateway, 8)
        await scene.answered(after, "calls with memory again")
        await scene.hang_up(after)
    await scene.hang_up()
    await scene.finish(gateway)


async def log_unread(scene: Scene) -> None:
    """Standard output is a full pipe."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    gateway = await with_echoes(scene, "unread", out=writing)
    os.close(writing)
    lines = await scene.call(gateway, 8)
    await scene.answered(lines, "calls before")
    for _ in range(3 if scene.is_short else 20):
        more = await scene.call(gateway, 10, 0.5)
        await scene.answered(more, "calls with an unread log")
        await scene.hang_up(more)
    scene.expect(await gateway.is_ready(), "not ready with an unread log")
    await scene.go_on(lines, "old calls with an unread log")
    await scene.hush(lines)
    # The log is read again: it has the kept lines, and the number of lost ones.
    text = bytearray()
    os.set_blocking(reading, False)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(reading, 1 << 16)
            text.extend(data)
            if not data:
                loop.remove_reader(reading)

    loop.add_reader(reading, read)
    try:
        await asyncio.sleep(1.0)
        last = await scene.call(gateway, 4)
        await scene.answered(last, "calls when the log is read")
        await scene.finish(gateway)
        await asyncio.sleep(0.5)
    finally:
        loop.remove_reader(reading)
        os.close(reading)
    log = text.decode(errors="replace")
    scene.look_at_log(log)
    odd = [line for line in log.splitlines() if not _is_object(line)]
    scene.expect(not odd, f"{len(odd)} invalid log lines: {odd[:1]}")
    ended = log.count("call.ended")
    scene.counts["ends in the log"] += ended
    is_said = "lost" in log
    scene.expect(
        ended >= scene.counts["calls"] or is_said,
        f"{ended} of {scene.counts['calls']} ends in the log, others not reported lost",
    )
    # A gateway whose log is not even read at its end.
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    gateway = await with_echoes(scene, "never-read", out=writing)
    os.close(writing)
    try:
        lines = await scene.call(gateway, 6)
        await scene.answered(lines, "calls with a log that is never read")
        await scene.finish(gateway)
    finally:
        os.close(reading)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


async def log_full(scene: Scene) -> None:
    """The disk is full: no log line can be written."""
    with Path("/dev/full").open("wb") as full:
        gateway = await with_echoes(scene, "full", out=full)
    lines = await scene.call(gateway, 12)
    await scene.answered(lines, "calls with a full log")
    more = await scene.call(gateway, 8)
    await scene.answered(more, "more calls with a full log")
    await scene.go_on(lines, "old calls with a full log")
    scene.expect(await gateway.is_ready(), "not ready with a full log")
    await scene.hush(scene.lines)
    await scene.finish(gateway)


async def told_to_stop(scene: Scene) -> None:
    """SIGTERM during calls, and during the start."""
    gateway = await with_echoes(scene, "stopping")
    lines = await scene.call(gateway, 12)
    await scene.answered(lines, "calls before")
    stopping = asyncio.create_task(gateway.stop())
    scene.expect(
        await until(gateway.is_not_ready, 2.0, 0.02), "ready while it is stopping"
    )
    late = await scene.call(gateway, 4, 0.1)
    await scene.refused(late, "calls while it is stopping")
    await scene.go_on(lines, "calls while it is stopping")
    wrong = await stopping
    scene.expect(not wrong, f"with calls up: {wrong}")
    await until(lambda: all(line.ended for line in lines), 5.0)
    why = Counter(f"{line.carrier}: {line.ended}" for line in lines)
    scene.expect(
        not any("broke" in what or what.endswith(": ") for what in why),
        f"calls ended without a message: {dict(why)}",
    )
    records = Counter(str(row.outcome) for row in gateway.rows())
    scene.expect(records["drained"] == len(lines), f"records: {dict(records)}")
    scene.look_at_log(gateway.log)
    for _ in range(1 if scene.is_short else 6):
        gateway = Gateway("starting", deployment("only", "http://127.0.0.1:9", 1))
        scene.gateways.append(gateway)
        await asyncio.sleep(scene.rng.uniform(1.0, 3.0))
        wrong = await gateway.stop()
        # Before Python handles signals, the signal itself ends the process.
        is_early = not gateway.log and wrong.endswith(str(-signal.SIGTERM))
        scene.expect(not wrong or is_early, f"while it started: {wrong}")
