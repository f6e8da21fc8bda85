"""
A thousand short calls: does memory come back?

Calls of half a second, twenty at a time, over the gateway as its users run it.
Bounded in count; ends by itself.

    make soak
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess

import uvloop
from load import Load, start_service
from run import command, free_port, rss_mb, server_env, wait_for

BATCH = 20
CALL_SECONDS = 0.5


async def soak(calls: int) -> int:
    service = await start_service()
    agent_port = service.sockets[0].getsockname()[1]
    port = free_port()
    process = subprocess.Popen(
        ["taskset", "-c", "0", *command("gateway", port, agent_port)],
        env=server_env(agent_port),
        stdout=subprocess.DEVNULL,
    )
    marks: dict[int, float] = {}
    try:
        wait_for(port)
        await asyncio.sleep(0.5)
        print(f"{'calls':>6} {'RSS MB':>8}")
        for done in range(BATCH, calls + 1, BATCH):
            path = "/stream/raw" if done % (2 * BATCH) else "/stream"
            load = Load(f"ws://127.0.0.1:{port}{path}")
            await load.start(BATCH)
            await asyncio.sleep(CALL_SECONDS)
            assert all(caller.received for caller in load.callers), "a call was lost"
            await load.stop()
            marks[done] = rss_mb(process.pid)
            if done % 100 == 0:
                print(f"{done:6} {marks[done]:8.2f}", flush=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.close()
    growth = marks[calls] - marks[100]
    print(f"from 100 to {calls} calls: {growth:+.2f} MB")
    return 0 if growth < 5 else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", type=int, default=1000)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    raise SystemExit(uvloop.run(soak(options.calls)))


if __name__ == "__main__":
    main()
