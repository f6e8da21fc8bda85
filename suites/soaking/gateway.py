"""The gateway of the soak, the calls that stay up in it, and the resources it holds."""

from __future__ import annotations

import asyncio
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from load import Load
from load_sip import SipLoad
from server import command, free_port, rss_mb, server_env, wait_for

from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery
from suites.soaking.formula import Counted, Formula, State, descriptors

BATCH = 20
CALL_SECONDS = 0.5

#: The first calls fill the history of live events and SQLite's cache, and over SIP the
#: transactions, each of which lives half a minute.
FIRST = {"sip": 1000, "websocket": 500}

#: Calls that stay up during short calls and standstills.
STANDING = {"websocket": 5, "sip": 5}

#: The time limit for the state to settle.
STANDSTILL_SECONDS = 60.0


class Gateway:
    """
    The gateway process.

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
        Place many calls, in batches.

        @return: memory growth in MB after all caches were filled.
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

    def state(self) -> State:
        # Counted before the request below opens a connection.
        held_descriptors = descriptors(self.process.pid)
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url) as page:
            text: str = page.read().decode()
        timers = next(
            int(float(line.split()[1]))
            for line in text.splitlines()
            if line.startswith("chimegw_timers ")
        )
        return State(held_descriptors, timers, Counted.open)

    def outcomes(self) -> Counter[str]:
        state = self.env["CHIMEGW_STATE"]
        database = Database(f"sqlite:///{state}/chimegw.sqlite", Path(state))
        try:
            rows = database.calls(CallQuery(limit=100_000, state="ended"))
        finally:
            database.close()
        return Counter(str(row.outcome) for row in rows)


@define
class Standing:
    """
    Calls that stay up.

    @ivar calls: the number of calls of each carrier.
    """

    gateway: Gateway
    calls: dict[str, int] = field(factory=dict)
    _loads: list[Load | SipLoad] = field(factory=list)

    async def begin(self, calls: dict[str, int]) -> None:
        for carrier, count in calls.items():
            load = self.gateway.load(carrier)
            self._loads.append(load)
            await load.start(count)
            self.gateway.placed += count
            self.calls[carrier] = self.calls.get(carrier, 0) + count

    async def end(self) -> None:
        for load in self._loads:
            self.gateway.lost += sum(not caller.received for caller in load.callers)
            await load.stop()
        self._loads.clear()
        self.calls.clear()


async def settled(
    gateway: Gateway, is_expected: Callable[[State], bool] | None, seconds: float
) -> State:
    """
    Wait for a state.

    @param is_expected: the state to wait for; C{None}: one that no longer changes.
    """
    loop = asyncio.get_running_loop()
    deadline = time.monotonic() + seconds
    last: list[State] = []
    while True:
        last.append(await loop.run_in_executor(None, gateway.state))
        is_still = len(last) > 8 and len(set(last[-8:])) == 1
        if is_still if is_expected is None else is_expected(last[-1]):
            return last[-1]
        if time.monotonic() > deadline:
            return min(last[-8:], key=lambda state: state.descriptors)
        await asyncio.sleep(1.1)


async def formula_of(gateway: Gateway) -> Formula:
    """Measure the formula, with a few calls of each carrier and with some more."""
    found: dict[str, int] = {}
    idle: set[int] = set()
    nothing = await settled(gateway, None, STANDSTILL_SECONDS)
    for carrier in STANDING:
        few, more = 4, 9
        standing = Standing(gateway)
        await standing.begin({carrier: few})
        first = await settled(gateway, None, STANDSTILL_SECONDS)
        await standing.begin({carrier: more - few})
        second = await settled(gateway, None, STANDSTILL_SECONDS)
        await standing.end()
        found[carrier] = (second.descriptors - first.descriptors) // (more - few)
        idle.add(first.descriptors - few * found[carrier])
    return Formula(nothing.descriptors, min(idle), found, nothing.timers)
