"""
The cost of beginning and ending a call: a hundred new calls per second while a hundred
others run, with TLS to the agent.

A new call arrives by media stream, sends audio until it has heard its agent, and ends.
For each call the time is measured from its answer (the upgrade to a WebSocket) until
its agent is ready (the service has sent C{session.updated}); the first frame that an
agent receives identifies its call.

A hundred per second may be more than a core can do besides the running calls, and then
the cost of one call cannot be seen.  So the CPU time per call is measured first, with
twenty calls per second and no others.

    make bench-setups
    make bench-setups BENCH="--baseline ../other-checkout --rate 50"
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import tempfile
import time
from binascii import a2b_base64
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop
from attrs import asdict, define, field, frozen
from certificates import Certificates, make
from load import (
    _HEAD,
    AUDIO,
    SLOT_SECONDS,
    Caller,
    Load,
    Samples,
    Service,
    start_service,
)
from picows import WSFrame, WSMsgType, WSTransport, ws_connect
from results import plain
from server import (
    HERE,
    ROOT,
    command,
    cpu_seconds,
    free_port,
    quantile_ms,
    running,
    server_env,
    wait_for,
)

#: The first number of new calls; running calls have smaller ones.
FIRST_NUMBER = 1_000_000

#: The longest time that a call waits for its agent.
PATIENCE_SECONDS = 10.0


@frozen
class Sizes:
    """Numbers and rates of calls."""

    running: int = 100
    rate: float = 100.0
    seconds: float = 10.0
    calm_rate: float = 20.0
    calm_seconds: float = 5.0


@frozen
class Storm:
    """
    The measurements; times in ms.

    @ivar cpu_ms_per_call: at the calm rate, from dialling to the end of the clean-up.
    @ivar server_share: share of its core while calls arrive; near 1: it is saturated.
    @ivar resumed_share: share of TLS sessions to the agent that were resumed.
    @ivar lost: new calls that did not hear their agent.
    @ivar lost_running: running calls that were lost.
    """

    name: str
    rate: float
    calls: int
    running: int
    cpu_ms_per_call: float
    server_share: float
    resumed_share: float
    ready_p50_ms: float
    ready_p99_ms: float
    alone_p50_ms: float
    alone_p99_ms: float
    during_p50_ms: float
    during_p99_ms: float
    lost: int
    lost_running: int
    load_share: float


@define
class Readiness:
    """
    When the agents of new calls were ready, by the call's number.

    @ivar resumed: for each session, whether TLS was resumed.
    """

    at: dict[int, float] = field(factory=dict)
    resumed: list[bool] = field(factory=list)


class Agent(Service):
    """Notes when it was ready, and for which call."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._ready_at: float | None = None
        self._is_told = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        secured = transport.underlying_transport.get_extra_info("ssl_object")
        if secured is not None:
            self._readiness.resumed.append(bool(secured.session_reused))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        super().on_ws_frame(transport, frame)
        if frame.msg_type != WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        start = payload.find(AUDIO, 0, 80)
        if start < 0:
            if self._ready_at is None and b"session.update" in payload[:60]:
                self._ready_at = time.monotonic()
        elif self._ready_at is not None and not self._is_told:
            start += len(AUDIO)
            _, number = _HEAD.unpack(a2b_base64(payload[start : start + 16]))
            self._readiness.at.setdefault(number, self._ready_at)
            # The call of an agent does not change.
            self._is_told = True


class NewCall(Caller):
    """Notes when it was answered."""

    answered_at = 0.0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.answered_at = time.monotonic()
        super().on_ws_connected(transport)


async def new_call(url: str, number: int, answered: dict[int, float]) -> bool:
    """
    Make one new call.

    @return: whether it has heard its agent.
    """
    caller = NewCall(Samples(), False, number)
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        await ws_connect(
            lambda: caller, url, websocket_handshake_timeout=PATIENCE_SECONDS
        )
    except Exception:  # picows raises several types for a refused handshake
        return False
    answered[number] = caller.answered_at
    while caller.is_open and not caller.received and time.monotonic() < deadline:
        caller.send_frame()
        await asyncio.sleep(0.02)
    if caller.is_open:
        caller.transport.send_close()
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            await caller.transport.wait_disconnected()
    caller.transport.disconnect()
    return caller.received > 0


async def _all(
    url: str, rate: float, seconds: float, first: int, answered: dict[int, float]
) -> int:
    """
    Make calls at a fixed rate, however long each takes.

    @param first: number of the first call.
    @return: how many heard nothing.
    """
    tasks = []
    began = time.monotonic()
    for number in range(round(rate * seconds)):
        due = began + number / rate - time.monotonic()
        if due > SLOT_SECONDS:
            await asyncio.sleep(due)
        tasks.append(asyncio.create_task(new_call(url, first + number, answered)))
    return sum(not heard for heard in await asyncio.gather(*tasks))


async def _cpu_ms_per_call(url: str, pid: int, sizes: Sizes) -> float:
    """Measure a server that has no other calls."""
    # The first call alone has extra costs, such as imports.
    await _all(url, sizes.calm_rate, 0.2, 3 * FIRST_NUMBER, {})
    await asyncio.sleep(1.0)
    before = cpu_seconds(pid)
    await asyncio.sleep(1.0)
    idle = cpu_seconds(pid) - before
    before, began = cpu_seconds(pid), time.monotonic()
    await _all(url, sizes.calm_rate, sizes.calm_seconds, 2 * FIRST_NUMBER, {})
    # The clean-up after a call is part of its cost.
    await asyncio.sleep(1.0)
    used = cpu_seconds(pid) - before - idle * (time.monotonic() - began)
    return used / round(sizes.calm_rate * sizes.calm_seconds) * 1000


async def storm(
    name: str, root: Path, certificates: Certificates, core: int, sizes: Sizes
) -> Storm:
    """
    Measure one gateway.

    @param name: the name of the row.
    @param root: the checkout to measure.
    """
    readiness = Readiness()
    service = await start_service(lambda: Agent(readiness), certificates.for_a_server())
    agent_port = service.sockets[0].getsockname()[1]
    port = free_port()
    env = server_env(agent_port, free_port(), root=root, agent_tls=certificates)
    arguments = command("gateway", port, agent_port, root=root, agent_tls=True)
    url = f"ws://127.0.0.1:{port}/stream"
    answered: dict[int, float] = {}
    try:
        with running(arguments, env, core) as process:
            wait_for(port)
            each = await _cpu_ms_per_call(url, process.pid, sizes)
            load = Load(url)
            await load.start(sizes.running)
            await asyncio.sleep(1.5)
            gc.collect()
            alone = await load.measure(sizes.seconds)
            readiness.resumed.clear()
            heard = [caller.received for caller in load.callers]
            before, load_before = cpu_seconds(process.pid), time.process_time()
            calling = asyncio.create_task(
                _all(url, sizes.rate, sizes.seconds, FIRST_NUMBER, answered)
            )
            during = await load.measure(sizes.seconds)
            load_share = (time.process_time() - load_before) / sizes.seconds
            server_share = (cpu_seconds(process.pid) - before) / sizes.seconds
            lost = await calling
            lost_running = sum(
                not caller.is_open or caller.received == had
                for caller, had in zip(load.callers, heard, strict=True)
            )
            await load.stop()
    finally:
        service.close()
    ready = [
        max(0.0, readiness.at[number] - at)
        for number, at in answered.items()
        if number in readiness.at
    ]
    calls = round(sizes.rate * sizes.seconds)
    return Storm(
        name=name,
        rate=sizes.rate,
        calls=calls,
        running=sizes.running,
        cpu_ms_per_call=each,
        server_share=server_share,
        resumed_share=sum(readiness.resumed) / max(1, len(readiness.resumed)),
        ready_p50_ms=quantile_ms(ready, 0.5),
        ready_p99_ms=quantile_ms(ready, 0.99),
        alone_p50_ms=quantile_ms(alone.seconds, 0.5),
        alone_p99_ms=quantile_ms(alone.seconds, 0.99),
        during_p50_ms=quantile_ms(during.seconds, 0.5),
        during_p99_ms=quantile_ms(during.seconds, 0.99),
        lost=lost,
        lost_running=lost_running,
        load_share=load_share,
    )


def line(one: Storm) -> str:
    return (
        f"{one.name:10} {one.calls} set-ups at {one.rate:g}/s:"
        f" CPU {one.cpu_ms_per_call:.2f} ms each, core {one.server_share:.0%},"
        f" {one.resumed_share:.0%} resumed,"
        f" answer to ready p50 {one.ready_p50_ms:.1f} p99 {one.ready_p99_ms:.1f} ms,"
        f" {one.lost} lost; {one.running} running: p50/p99"
        f" {one.alone_p50_ms:.1f}/{one.alone_p99_ms:.1f} alone,"
        f" {one.during_p50_ms:.1f}/{one.during_p99_ms:.1f} with new calls,"
        f" {one.lost_running} lost; load {one.load_share:.0%}"
    )


async def measure(
    sizes: Sizes,
    certificates: Certificates,
    core: int,
    baseline: Path | None,
    found: list[Storm],
) -> None:
    """
    Measure the gateway and the other commit, then both again in reverse order.

    @param found: receives each result as soon as it is measured.
    """
    rows = [("gateway", ROOT)]
    if baseline is not None:
        rows.append(("baseline", baseline))
    for name, root in (*rows, *reversed(rows)):
        async with asyncio.timeout(60 + 3 * sizes.seconds):
            found.append(await storm(name, root, certificates, core, sizes))
        print(line(found[-1]), flush=True)


async def run(options: Any, core: int) -> list[Storm]:
    sizes = Sizes(options.running, options.rate, options.seconds)
    baseline = options.baseline.resolve() if options.baseline else None
    found: list[Storm] = []
    with tempfile.TemporaryDirectory(prefix="chimegw-bench-") as folder:
        await measure(sizes, make(Path(folder)), core, baseline, found)
    return found


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--running", type=int, default=100)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--baseline", type=Path, help="checkout of another commit")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "setups.json")
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    gc.disable()
    storms = uvloop.run(run(options, cores[0]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = [plain(asdict(one)) for one in storms]
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
