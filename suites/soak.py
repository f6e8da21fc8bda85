"""
Many short calls: are all resources released?

Calls of half a second, twenty at a time, use a gateway as in production: first over
SIP, then over WebSocket while the last SIP transactions expire; with C{--minutes} both
alternate for this time, while other calls stay up.  The suite counts calls that heard
nothing, records, and what the gateway still holds at the end: calls, SIP ports,
dialogs, transactions and file descriptors.  From time to time it stops placing calls,
with a random number of them up: descriptors and sessions at the service must then be
exactly as a formula predicts, and timers at most as many.  In the full form resident
memory counts as well, and the CPU cost of a call must not grow.

    make long SUITES=soak
    make soak
    make soak SOAK="--minutes 60"
    make soak SOAK="--minutes 0 --sip 0 --websocket 1000"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from statistics import median

import uvloop
from attrs import define, field
from picows import ws_create_server
from server import cpu_seconds, held, rss_mb

from suites.soaking.formula import (
    Counted,
    Formula,
    descriptors,
    sqlite_descriptors,
)
from suites.soaking.gateway import (
    BATCH,
    FIRST,
    STANDING,
    STANDSTILL_SECONDS,
    Gateway,
    Standing,
    formula_of,
    settled,
)

#: After the last call SIP transactions have to live on for 64 * T1.
LINGER_SECONDS = 36

#: Time for records that are still being written.
SETTLE_SECONDS = 15

#: Threads open SQLite's files when they first need them, at most five each; these are
#: counted separately.
MOST_SQLITE = 15

MOST_GROWTH_MB = 5.0

MOST_STANDING = 30

#: Seconds between two standstills.
BETWEEN_SECONDS = 120.0

#: The highest permitted ratio of the CPU time of a call in the last tenth to one in the
#: first tenth.  Other guests of the machine share its caches, so it varies.
MOST_COST = 1.3


async def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, at most this long; the counts show whether it is met."""
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        await asyncio.sleep(0.25)


@define
class Rounds:
    """
    Rounds of short calls, while other calls stay up.

    @ivar costs: CPU seconds of the gateway per call of a round; the cost of the calls
        that stay up is included, because it is the same in each round.
    @ivar grown: growth in MB since all caches were filled.
    @ivar wrong: standstills at which the formula did not hold.
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
        """Check that the gateway holds what the formula predicts for these calls."""
        found = await settled(
            self.gateway,
            lambda state: self.formula.is_held(state, calls),
            STANDSTILL_SECONDS,
        )
        if not self.formula.is_held(found, calls):
            self.wrong.append(f"{calls}: {found}")
            print(f"not as the formula predicts: {self.wrong[-1]}", flush=True)

    def cost_grown(self) -> float:
        """Return the CPU cost of a call in the last tenth relative to the first."""
        tenth = max(1, len(self.costs) // 10)
        return median(self.costs[-tenth:]) / median(self.costs[:tenth])


async def soak(sip: int, websocket: int, minutes: float, seed: int) -> bool:
    service = await ws_create_server(lambda _: Counted(), "127.0.0.1", 0)
    gateway = Gateway(service.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    rounds: Rounds | None = None
    try:
        await asyncio.sleep(0.5)
        # Files that the very first call opens are not a leak.
        for carrier in ("sip", "websocket"):
            await gateway.batch(carrier)
        await asyncio.sleep(1.0)
        before = descriptors(gateway.process.pid)
        growth = 0.0
        if minutes:
            # Wait for the end of the first SIP transactions, which have timers.
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
        print(f"CPU cost of a call, last tenth to first tenth: {grown:.2f}")
        counts["wrong standstills"] = len(rounds.wrong)
        good = good and not rounds.wrong and grown < MOST_COST
    print(json.dumps(counts))
    return good and outcomes.total() == gateway.placed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--sip", type=int, help="calls over SIP")
    parser.add_argument("--websocket", type=int, help="calls over WebSocket")
    parser.add_argument("--minutes", type=float, default=0.0, help="alternate first")
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
