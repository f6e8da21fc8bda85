"""
Many short calls: does everything come back?

Calls of half a second, twenty at a time, over the gateway as its users run it:
first over SIP, then over WebSocket while the last SIP transactions live out.
Counted: calls that heard nothing, records, and what the gateway still holds at the
end, which is calls, SIP ports, dialogs, transactions and file descriptors.  In the
full form resident memory counts as well.  Bounded in count; ends by itself.

    make long SUITES=soak
    make soak SOAK="--sip 0 --websocket 1000"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import uvloop
from load import Load, start_service
from load_sip import SipLoad
from run import command, free_port, held, rss_mb, server_env, wait_for

from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery

BATCH = 20
CALL_SECONDS = 0.5

#: After the last call SIP transactions live on for 64 * T1, as they must.
LINGER_SECONDS = 36

#: For records that are still being written.
SETTLE_SECONDS = 15

#: Threads open SQLite's files when they first need them; a leak would leave one for
#: each call.
FEW_DESCRIPTORS = 8

#: The first calls fill what is kept of live events, SQLite's cache, and over SIP
#: the half minute for which transactions are alive at any time.
FIRST = {"sip": 1000, "websocket": 500}
MOST_GROWTH_MB = 5.0


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Gateway:
    """
    @ivar lost: calls in which nothing was heard.
    """

    def __init__(self, agent_port: int) -> None:
        self.port, self.sip_port = free_port(), free_port()
        self.env = server_env(agent_port, self.sip_port)
        self.placed = self.lost = 0
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", *command("gateway", self.port, agent_port)],
            env=self.env,
            stdout=subprocess.DEVNULL,
        )
        wait_for(self.port)

    def load(self, carrier: str) -> Load | SipLoad:
        if carrier == "sip":
            return SipLoad("127.0.0.1", self.sip_port, f"after{self.placed}")
        path = "/stream/raw" if self.placed % (2 * BATCH) else "/stream"
        return Load(f"ws://127.0.0.1:{self.port}{path}")

    async def batch(self, carrier: str) -> None:
        load = self.load(carrier)
        await load.start(BATCH)
        await asyncio.sleep(CALL_SECONDS)
        self.lost += sum(not caller.received for caller in load.callers)
        self.placed += len(load.callers)
        await load.stop()

    async def many(self, carrier: str, calls: int) -> float:
        """
        @return: by how many MB it grew once all was filled.
        """
        marks = {}
        for done in range(BATCH, calls + 1, BATCH):
            await self.batch(carrier)
            marks[done] = rss_mb(self.process.pid)
            if done % 100 == 0:
                print(f"{carrier:>9} {done:6} {marks[done]:8.2f}", flush=True)
        if calls <= FIRST[carrier]:
            return 0.0
        growth = marks[max(marks)] - marks[FIRST[carrier]]
        print(f"{carrier} from {FIRST[carrier]} to {calls} calls: {growth:+.2f} MB")
        return growth

    def outcomes(self) -> Counter[str]:
        state = self.env["CHIMEGW_STATE"]
        database = Database(f"sqlite:///{state}/chimegw.sqlite", Path(state))
        try:
            rows = database.calls(CallQuery(limit=100_000, state="ended"))
        finally:
            database.close()
        return Counter(str(row.outcome) for row in rows)


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Or until the time is over: then what is counted says so."""
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        await asyncio.sleep(0.25)


async def soak(sip: int, websocket: int) -> bool:
    service = await start_service()
    gateway = Gateway(service.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    try:
        await asyncio.sleep(0.5)
        # What is opened at the first call of all is no leak.
        for carrier in ("sip", "websocket"):
            await gateway.batch(carrier)
        await asyncio.sleep(1.0)
        before = descriptors(gateway.process.pid)
        print(f"{'calls':>16} {'RSS MB':>8}")
        growth = await gateway.many("sip", sip)
        sip_over = time.monotonic()
        growth = max(growth, await gateway.many("websocket", websocket))
        await asyncio.sleep(max(1.0, sip_over + LINGER_SECONDS - time.monotonic()))
        left = await loop.run_in_executor(None, held, gateway.port)
        pid = gateway.process.pid
        few = before + FEW_DESCRIPTORS
        await until(lambda: descriptors(pid) <= few, SETTLE_SECONDS)
        more = max(0, descriptors(pid) - before)
        await until(
            lambda: gateway.outcomes().total() >= gateway.placed, SETTLE_SECONDS
        )
        outcomes = gateway.outcomes()
    finally:
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
        service.close()
    print("held after the last call:", left)
    print("outcomes:", dict(outcomes))
    counts = {
        "calls": gateway.placed,
        "lost": gateway.lost,
        "records": outcomes.total(),
        "held": sum(left.values()),
        "more descriptors": more,
    }
    print(json.dumps(counts))
    good = not (gateway.lost or any(left.values())) and more <= FEW_DESCRIPTORS
    return good and outcomes.total() == gateway.placed and growth < MOST_GROWTH_MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--sip", type=int, help="calls over SIP")
    parser.add_argument("--websocket", type=int, help="calls over WebSocket")
    options = parser.parse_args()
    sip, websocket = (200, 400) if options.short else (2000, 3000)
    if options.sip is not None:
        sip = options.sip
    if options.websocket is not None:
        websocket = options.websocket
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.exit(0 if uvloop.run(soak(sip, websocket)) else 1)


if __name__ == "__main__":
    main()
