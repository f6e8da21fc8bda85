"""
Measure the gateway, a bare relay in C and a Node sample in one run.

    make bench                                    # everything, in less than an hour
    make bench BENCH="--form goals --baseline ../other-checkout"
    make bench BENCH="--calls 60,100 --servers gateway-tls,relay-tls,gateway"
    make bench BENCH="--form short"               # does everything still run?

Row names are defined in kinds.py, selections in forms.py.  Each run is independent: the
server starts on one core, the load and the Realtime service run on another; calls are
dialled, send audio, are measured and end.  The server's CPU time comes from the
scheduler's clock.  Latency is given without the load's own.  The load reports the share
of its core that it used: above 85 % it limits the result as much as the server.
Afterwards table.py makes the tables.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gc
import json
import os
import platform
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import goals
import setups
import uvloop
from attrs import asdict, frozen
from certificates import Certificates, make
from forms import FORMS, Rung, lasts_seconds, order, rungs, seconds_of, without
from kinds import CYCLE_SECONDS, Kind
from load import Load, Service, TalkativeService, Talkers, start_echo, start_service
from load_sip import SipLoad
from load_webrtc import RtcLoad, start_rtc_service
from results import Run, line, plain
from server import (
    HERE,
    ROOT,
    command,
    cpu_seconds,
    free_port,
    memory_mb,
    quantile_ms,
    running,
    server_env,
    stolen_and_all,
    wait_for,
)
from speech import Heard, Speaker
from table import document_tables

WARM_UP_SECONDS = 1.5

#: Time limit until the last caller has heard something.
ALL_HEAR_SECONDS = 15.0

#: A run that takes this much longer than its measurement counts as hanging.
HANGS_SECONDS = 90.0


@frozen
class Bench:
    """
    Data shared by all runs.

    @ivar baseline: another checkout.
    """

    certificates: Certificates
    baseline: Path | None
    server_core: int
    seconds: float


async def floor(calls: int, seconds: float) -> tuple[float, float]:
    """Measure the load's own delay: p50 and p99 in ms."""
    echo = await start_echo()
    port = echo.sockets[0].getsockname()[1]
    load = Load(f"ws://127.0.0.1:{port}/", 0.0)
    await load.start(calls)
    await asyncio.sleep(0.5)
    samples = await load.measure(seconds)
    await load.stop()
    echo.close()
    return quantile_ms(samples.seconds, 0.5), quantile_ms(samples.seconds, 0.99)


async def service_of(row: Kind, tls: ssl.SSLContext | None, heard: Heard) -> Any:
    if row.agent_over == "webrtc":
        return await start_rtc_service()
    if row.speaks:
        return await start_service(lambda: Speaker(heard), tls)
    return await start_service(
        TalkativeService if "kept" in row.words else Service, tls
    )


def load_of(row: Kind, port: int, sip_port: int) -> Any:
    if row.carrier in ("sip", "srtp"):
        return SipLoad("127.0.0.1", sip_port, is_secure=row.carrier == "srtp")
    if row.carrier == "caller":
        return RtcLoad(port)
    scheme = "wss" if row.carrier_tls else "ws"
    return Load(f"{scheme}://127.0.0.1:{port}{row.path}", 0.004)


async def all_hear(load: Talkers) -> None:
    deadline = time.monotonic() + ALL_HEAR_SECONDS
    while time.monotonic() < deadline:
        if all(caller.received for caller in load.callers):
            return
        await asyncio.sleep(0.05)


async def one_run(row: Kind, calls: int, bench: Bench) -> Run:
    """Start, dial, measure, stop."""
    tls = bench.certificates.for_a_server() if row.agent_tls else None
    heard = Heard()
    service = await service_of(row, tls, heard)
    agent_port = service.sockets[0].getsockname()[1]
    port, sip_port = free_port(), free_port()
    root = ROOT
    if row.program == "baseline":
        assert bench.baseline is not None
        root = bench.baseline
    arguments = command(
        row.program,
        port,
        agent_port,
        root=root,
        agent_tls=row.agent_tls,
        carrier_tls=bench.certificates if row.carrier_tls else None,
    )
    env = server_env(
        agent_port,
        sip_port,
        keeps="kept" in row.words,
        root=root,
        agent_over=row.agent_over,
        takes_webrtc=row.carrier == "caller",
        agent_tls=bench.certificates if row.agent_tls else None,
    )
    try:
        with running(arguments, env, bench.server_core) as process:
            wait_for(port)
            await asyncio.sleep(0.5)
            idle, own = (memory_mb(process.pid, w) for w in ("VmRSS", "RssAnon"))
            load = load_of(row, port, sip_port)
            await load.start(calls)
            if seconds_of(row, bench.seconds) > CYCLE_SECONDS or not row.speaks:
                await all_hear(load)
            await asyncio.sleep(min(WARM_UP_SECONDS, bench.seconds))
            gc.collect()
            before_each = [caller.received for caller in load.callers]
            stolen, ticks = stolen_and_all()
            before, began = cpu_seconds(process.pid), time.monotonic()
            load_before = time.process_time()
            heard.is_measuring = True
            samples = await load.measure(seconds_of(row, bench.seconds))
            heard.is_measuring = False
            load_used = time.process_time() - load_before
            used = cpu_seconds(process.pid) - before
            lasted = time.monotonic() - began
            stolen_now, ticks_now = stolen_and_all()
            loaded = memory_mb(process.pid, "VmRSS")
            lost = sum(
                not caller.is_open or caller.received == had
                for caller, had in zip(load.callers, before_each, strict=True)
            )
            first = [c.first_after for c in load.callers if c.received]
            await load.stop()
    finally:
        service.close()
    there = heard.seconds if row.speaks else samples.seconds
    return Run(
        name=row.name,
        calls=calls,
        cpu_ms_per_call_second=used / lasted / calls * 1000,
        server_share=used / lasted,
        p50_ms=quantile_ms(there, 0.5),
        p99_ms=quantile_ms(there, 0.99),
        mean_ms=sum(there) / max(1, len(there)) * 1000,
        answer_p50_ms=quantile_ms(samples.seconds, 0.5) if row.speaks else None,
        answer_p99_ms=quantile_ms(samples.seconds, 0.99) if row.speaks else None,
        idle_mb=idle,
        idle_own_mb=own,
        loaded_mb=loaded,
        lost_calls=lost,
        frames_share=samples.received
        / max(1, heard.said if row.speaks else samples.sent),
        stolen_share=(stolen_now - stolen) / max(1, ticks_now - ticks),
        load_share=load_used / lasted,
        setup_p50_ms=quantile_ms(first, 0.5),
        setup_p99_ms=quantile_ms(first, 0.99),
    )


async def attempt(row: Kind, calls: int, bench: Bench) -> Run:
    """Do one run; a failed run is recorded with its error."""
    try:
        async with asyncio.timeout(HANGS_SECONDS + bench.seconds):
            return await one_run(row, calls, bench)
    except (Exception, SystemExit) as exc:
        return Run.failed_run(row.name, calls, f"{type(exc).__name__}: {exc}")
    finally:
        gc.collect()


async def storms_of(bench: Bench, found: list[setups.Storm]) -> str:
    """
    Measure the set-ups.

    @param found: receives each result as soon as it is measured.
    @return: the error; empty: none.
    """
    try:
        await setups.measure(
            setups.Sizes(),
            bench.certificates,
            bench.server_core,
            bench.baseline,
            found,
        )
    except (Exception, SystemExit) as exc:
        return f"set-ups: {type(exc).__name__}: {exc}"
    return ""


async def run(options: Any, plan: list[Rung], bench: Bench) -> dict[str, Any]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    began = time.monotonic()
    ends_by = began + options.minutes * 60
    total = sum(len(order(rung.kinds, options.rounds)) for rung in plan)
    floors: dict[str, tuple[float, float]] = {}
    runs: list[Run] = []
    storms: list[setups.Storm] = []
    ended = ""
    try:
        for rung in plan:
            base = await floor(rung.calls, min(2.5, options.seconds))
            floors[str(rung.calls)] = base
            for row in order(rung.kinds, options.rounds):
                if time.monotonic() > ends_by:
                    raise TimeoutError(f"the limit of {options.minutes:g} minutes")
                runs.append(await attempt(row, rung.calls, bench))
                at = int(time.monotonic() - began)
                head = f"{len(runs):3}/{total} {at // 60:2}:{at % 60:02}"
                print(f"{head} {line(runs[-1], base)}", flush=True)
        if options.setups:
            ended = await storms_of(bench, storms)
    except (TimeoutError, asyncio.CancelledError) as exc:
        # Results so far are kept.
        ended = str(exc) or "terminated by a signal"
    return {
        "floors": floors,
        "runs": [plain(asdict(one)) for one in runs],
        "setups": [plain(asdict(one)) for one in storms],
        "minutes": round((time.monotonic() - began) / 60, 1),
        "ended": ended,
    }


def commit_of(root: Path) -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def machine(options: Any, bench: Bench) -> dict[str, Any]:
    node = shutil.which("node")
    version = [node or "", "--version"]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit_of(ROOT),
        "baseline": commit_of(bench.baseline) if bench.baseline else "",
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "node": subprocess.check_output(version, text=True).strip() if node else "",
        "seconds": options.seconds,
        "rounds": options.rounds,
    }


def cpu_model() -> str:
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.machine()


def parsed() -> Any:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--form", choices=FORMS, default="full")
    parser.add_argument("--calls", help="instead of a form: 60,100")
    parser.add_argument("--servers", help="instead of a form: gateway-tls,relay-tls")
    parser.add_argument("--baseline", type=Path, help="checkout of another commit")
    parser.add_argument("--seconds", type=float, help="of each run; 9, short: 1")
    parser.add_argument(
        "--rounds",
        type=int,
        help="how often A B .. B A is repeated; default 1; 0 (short): A B once",
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="no run begins after this time"
    )
    parser.add_argument(
        "--setups",
        action=argparse.BooleanOptionalAction,
        help="measure set-ups as well; default with the full form",
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "latest.json")
    options = parser.parse_args()
    is_short = options.form == "short"
    if options.seconds is None:
        options.seconds = 1.0 if is_short else 9.0
    if options.rounds is None:
        options.rounds = 0 if is_short else 1
    chosen = options.calls or options.servers
    if options.setups is None:
        options.setups = options.form == "full" and not chosen
    try:
        if chosen:
            names = (options.servers or "gateway-tls,relay-tls,gateway,relay").replace(
                ",", " "
            )
            calls = [int(n) for n in (options.calls or "60").split(",")]
            options.plan = rungs((count, names) for count in calls)
        else:
            options.plan = rungs(FORMS[options.form])
    except ValueError as exc:
        parser.error(str(exc))
    if options.baseline is not None:
        options.baseline = options.baseline.resolve()
        if not (options.baseline / "chime_gateway").is_dir():
            parser.error(f"--baseline {options.baseline}: not a gateway checkout")
    return options


def runnable(options: Any) -> list[Rung]:
    missing = []
    if options.baseline is None:
        missing.append("baseline")
    if not (shutil.which("node") and (HERE / "node_modules" / "ws").is_dir()):
        print("node or its package ws is missing: no Node rows", file=sys.stderr)
        missing.append("node")
    return without(options.plan, missing)


def main() -> None:
    options = parsed()
    plan = runnable(options)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    minutes = lasts_seconds(plan, options.rounds, options.seconds) / 60
    print(f"about {minutes:.0f} minutes, server on core {cores[0]}", flush=True)
    # The load's garbage is collected between runs only.
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="chimegw-bench-") as folder:
        bench = Bench(make(Path(folder)), options.baseline, cores[0], options.seconds)
        measured = uvloop.run(run(options, plan, bench))
    document = {**machine(options, bench), **measured}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    tables = document_tables(document)
    options.out.with_suffix(".md").write_text(tables)
    print("", tables, "", *goals.lines(document), sep="\n")
    print(f"written to {options.out} and {options.out.stem}.md")
    if document["ended"]:
        raise SystemExit(f"incomplete: {document['ended']}")
    if any(one["failed"] for one in document["runs"]):
        raise SystemExit("a run failed")


if __name__ == "__main__":
    main()
