"""
Many short calls: does everything come back?

Calls of half a second, twenty at a time, over the gateway as its users run it:
first over SIP, then over WebSocket while the last SIP transactions live out; with
C{--minutes} both in turn for so long, beside calls that stay on.
Counted: calls that heard nothing, records, and what the gateway still holds at the
end, which is calls, SIP ports, dialogs, transactions and file descriptors.  From time
to time it stands still with a number of calls that is drawn: descriptors and sessions
at the service are then exactly what a formula says, timers at most.  In the full form
resident memory counts as well, and what a call costs is the same at the end.
Bounded; ends by itself.

    make long SUITES=soak
    make soak
    make soak SOAK="--minutes 60"
    make soak SOAK="--minutes 0 --sip 0 --websocket 1000"
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

import uvloop
from attrs import define, field, frozen
from load import Load, Service
from load_sip import SipLoad
from picows import WSTransport, ws_create_server
from run import (
    command,
    cpu_seconds,
    free_port,
    held,
    rss_mb,
    server_env,
    wait_for,
)

from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery

BATCH = 20
CALL_SECONDS = 0.5

#: After the last call SIP transactions live on for 64 * T1, as they must.
LINGER_SECONDS = 36

#: For records that are still being written.
SETTLE_SECONDS = 15

#: Threads open SQLite's files when they first need them, five each at most; they are
#: counted apart.
MOST_SQLITE = 15

#: The first calls fill what is kept of live events, SQLite's cache, and over SIP
#: the half minute for which transactions are alive at any time.
FIRST = {"sip": 1000, "websocket": 500}
MOST_GROWTH_MB = 5.0

#: Calls that stay on beside those that come and go, and those of a standstill.
STANDING = {"websocket": 5, "sip": 5}
MOST_STANDING = 30

#: A standstill comes each so many seconds, and takes no longer.
BETWEEN_SECONDS = 120.0
STANDSTILL_SECONDS = 60.0

#: Timers that are set while there are calls, of the beat and the like.
FEW_TIMERS = 10

#: What a call of the last tenth costs beside one of the first, at most.  It is CPU
#: time, and other guests of the machine take their share of its caches.
MOST_COST = 1.3


def names_of_descriptors(pid: int) -> list[str]:
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found.append(str(one.readlink()))
    return found


def descriptors(pid: int) -> int:
    """But those of SQLite."""
    return sum(".sqlite" not in name for name in names_of_descriptors(pid))


def sqlite_descriptors(pid: int) -> int:
    return sum(".sqlite" in name for name in names_of_descriptors(pid))


class Counted(Service):
    """
    @cvar open: sessions at the service.
    """

    open = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        Counted.open += 1
        super().on_ws_connected(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        Counted.open -= 1


@frozen
class State:
    """What a gateway holds at one moment, and what the service has of it."""

    descriptors: int
    timers: int
    sessions: int


@frozen
class Formula:
    """
    What it holds with so many calls.

    @ivar idle: descriptors without calls.
    @ivar descriptors: with calls, their journal included; C{each}: of a call of each
        carrier besides.
    @ivar timers: without calls, once SIP transactions have lived out.  Calls share
        theirs, so that there is at most one more for each, and a few for all.
    """

    idle: int
    descriptors: int
    each: dict[str, int]
    timers: int

    def is_held(self, state: State, calls: dict[str, int]) -> bool:
        each = sum(self.each[carrier] * count for carrier, count in calls.items())
        count = sum(calls.values())
        held_descriptors = self.descriptors + each if count else self.idle
        exact = state.descriptors, state.sessions
        most_timers = self.timers + (FEW_TIMERS + count if count else 0)
        return exact == (held_descriptors, count) and state.timers <= most_timers

    def __str__(self) -> str:
        each = " + ".join(f"{count} a {name} call" for name, count in self.each.items())
        return f"descriptors {self.idle}, or {self.descriptors} + {each}"


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

    def state(self) -> State:
        # Before there is a connection of our own to it.
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


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Or until the time is over: then what is counted says so."""
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        await asyncio.sleep(0.25)


@define
class Standing:
    """
    Calls that stay on.

    @ivar calls: how many of each carrier.
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
    @param is_expected: wait for this; C{None}: for what does not change any more.
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
    """From what it holds with a few calls of each carrier, and with some more."""
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


@define
class Rounds:
    """
    Calls that come and go beside those that stay, for so long.

    @ivar costs: CPU seconds of the gateway for each call of a round; those of calls
        that stay are not taken off, which are the same in each.
    @ivar grown: MB since all was filled.
    @ivar wrong: standstills at which it did not hold what the formula says.
    """

    gateway: Gateway
    formula: Formula
    rng: random.Random
    costs: list[float] = field(factory=list)
    grown: float = 0.0
    wrong: list[str] = field(factory=list)

    async def run(self, seconds: float) -> None:
        began = time.monotonic()
        until_seconds = began + seconds
        standing = Standing(self.gateway)
        await standing.begin(STANDING)
        filled: float | None = None
        calls = 0
        still_at = began + BETWEEN_SECONDS
        while time.monotonic() < until_seconds:
            before = cpu_seconds(self.gateway.process.pid)
            for carrier in STANDING:
                await self.gateway.batch(carrier)
            spent = cpu_seconds(self.gateway.process.pid) - before
            self.costs.append(spent / (2 * BATCH))
            calls += 2 * BATCH
            rss = rss_mb(self.gateway.process.pid)
            if filled is None and calls >= sum(FIRST.values()):
                filled = rss
            if time.monotonic() > still_at:
                await self._stand_still(standing)
                still_at = time.monotonic() + BETWEEN_SECONDS
                self.grown = rss - (filled or rss)
                cost = 1000 * median(self.costs[-10:])
                print(
                    f"{calls:6} calls {rss:8.2f} MB, {cost:.2f} ms CPU a call,"
                    f" {time.monotonic() - began:.0f} s",
                    flush=True,
                )
        await standing.end()

    async def _stand_still(self, standing: Standing) -> None:
        more = {name: self.rng.randrange(MOST_STANDING) for name in STANDING}
        beside = Standing(self.gateway)
        await beside.begin(more)
        calls = {name: more[name] + standing.calls[name] for name in STANDING}
        await self.expect(calls)
        await beside.end()

    async def expect(self, calls: dict[str, int]) -> None:
        """What it holds with so many is what the formula says."""
        found = await settled(
            self.gateway,
            lambda state: self.formula.is_held(state, calls),
            STANDSTILL_SECONDS,
        )
        if not self.formula.is_held(found, calls):
            self.wrong.append(f"{calls}: {found}")
            print(f"not as the formula says: {self.wrong[-1]}", flush=True)

    def cost_grown(self) -> float:
        """What a call of the last tenth costs beside one of the first."""
        tenth = max(1, len(self.costs) // 10)
        return median(self.costs[-tenth:]) / median(self.costs[:tenth])


async def soak(sip: int, websocket: int, minutes: float, seed: int) -> bool:
    service = await ws_create_server(lambda _: Counted(), "127.0.0.1", 0)
    gateway = Gateway(service.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    rounds: Rounds | None = None
    try:
        await asyncio.sleep(0.5)
        # What is opened at the first call of all is no leak.
        for carrier in ("sip", "websocket"):
            await gateway.batch(carrier)
        await asyncio.sleep(1.0)
        before = descriptors(gateway.process.pid)
        growth = 0.0
        if minutes:
            # SIP transactions of the first calls have timers of their own.
            await asyncio.sleep(LINGER_SECONDS)
            formula = await formula_of(gateway)
            print(formula, flush=True)
            rounds = Rounds(gateway, formula, random.Random(seed))
            await rounds.run(minutes * 60)
            await rounds.expect({})
            growth = rounds.grown
        print(f"{'calls':>16} {'RSS MB':>8}")
        growth = max(growth, await gateway.many("sip", sip))
        sip_over = time.monotonic()
        growth = max(growth, await gateway.many("websocket", websocket))
        await asyncio.sleep(max(1.0, sip_over + LINGER_SECONDS - time.monotonic()))
        left = await loop.run_in_executor(None, held, gateway.port)
        pid = gateway.process.pid
        await until(lambda: descriptors(pid) <= before, SETTLE_SECONDS)
        more = max(0, descriptors(pid) - before)
        of_sqlite = sqlite_descriptors(pid)
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
        "sessions": Counted.open,
        "more descriptors": more,
        "SQLite's": of_sqlite,
    }
    good = not (gateway.lost or any(left.values()) or Counted.open)
    good = good and not more and of_sqlite <= MOST_SQLITE and growth < MOST_GROWTH_MB
    if rounds is not None:
        grown = rounds.cost_grown()
        print(f"a call of the last tenth costs {grown:.2f} of one of the first")
        counts["wrong standstills"] = len(rounds.wrong)
        good = good and not rounds.wrong and grown < MOST_COST
    print(json.dumps(counts))
    return good and outcomes.total() == gateway.placed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--sip", type=int, help="calls over SIP")
    parser.add_argument("--websocket", type=int, help="calls over WebSocket")
    parser.add_argument("--minutes", type=float, default=0.0, help="in turn first")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sip, websocket = (200, 400) if options.short else (2000, 3000)
    if options.minutes:
        sip = websocket = 0
    if options.sip is not None:
        sip = options.sip
    if options.websocket is not None:
        websocket = options.websocket
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.exit(
        0 if uvloop.run(soak(sip, websocket, options.minutes, options.seed)) else 1
    )


if __name__ == "__main__":
    main()
