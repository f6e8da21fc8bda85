"""
Many short calls: does everything come back?

Calls of half a second, twenty at a time, over the gateway as its users run it:
memory, and over SIP ports, dialogs and transactions.  Bounded in count; ends by
itself.

    make soak
    make soak SOAK="--carrier sip --calls 2000"
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import urllib.request

import uvloop
from load import Load, start_service
from load_sip import SipLoad
from run import command, free_port, rss_mb, server_env, wait_for

BATCH = 20
CALL_SECONDS = 0.5


#: After the last call SIP transactions live on for 64 * T1, as they must.
LINGER_SECONDS = 36


def held(port: int) -> dict[str, int]:
    """What the gateway says it holds for SIP."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        text = page.read().decode()
    found = {}
    for line in text.splitlines():
        if line.startswith("chimegw_sip_held{"):
            name, _, value = line.rpartition(" ")
            found[name.split('"')[1]] = int(float(value))
    return found


async def soak(calls: int, carrier: str) -> int:
    service = await start_service()
    agent_port = service.sockets[0].getsockname()[1]
    port, sip_port = free_port(), free_port()
    is_sip = carrier == "sip"
    left: dict[str, int] = {}
    process = subprocess.Popen(
        ["taskset", "-c", "0", *command("gateway", port, agent_port)],
        env=server_env(agent_port, sip_port),
        stdout=subprocess.DEVNULL,
    )
    marks: dict[int, float] = {}
    try:
        wait_for(port)
        await asyncio.sleep(0.5)
        print(f"{'calls':>6} {'RSS MB':>8}")
        for done in range(BATCH, calls + 1, BATCH):
            path = "/stream/raw" if done % (2 * BATCH) else "/stream"
            load: Load | SipLoad = Load(f"ws://127.0.0.1:{port}{path}")
            if is_sip:
                load = SipLoad("127.0.0.1", sip_port, f"batch{done}")
            await load.start(BATCH)
            await asyncio.sleep(CALL_SECONDS)
            assert all(caller.received for caller in load.callers), "a call was lost"
            await load.stop()
            marks[done] = rss_mb(process.pid)
            if done % 100 == 0:
                print(f"{done:6} {marks[done]:8.2f}", flush=True)
        if is_sip:
            await asyncio.sleep(LINGER_SECONDS)
            loop = asyncio.get_running_loop()
            left = await loop.run_in_executor(None, held, port)
            print("held after the last call:", left)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.close()
    # Over SIP the transactions of half a minute are alive at any time; the first
    # hundreds of calls also fill what is kept of live events, and SQLite's cache.
    first = min(calls, 1000 if is_sip else 500)
    growth = marks[calls] - marks[first]
    print(f"from {first} to {calls} calls: {growth:+.2f} MB")
    return 0 if growth < 5 and not any(left.values()) else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--carrier", choices=("websocket", "sip"), default="websocket")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    raise SystemExit(uvloop.run(soak(options.calls, options.carrier)))


if __name__ == "__main__":
    main()
