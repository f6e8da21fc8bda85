"""
Measure the gateway beside two relays, in one run.

For 1, 10, 50, 100 and 150 calls: CPU per call-second, added latency, memory per
call, lost calls, and the time from a call's start to its first audio; of the gateway,
of a bare Autobahn relay (the floor of its stack), of a minimal relay in Node and, where
WebRTC is asked for, of one on aiortc.  The server under test runs on core 0 alone, the
load on core 1.  On a shared host other guests take time from both; a rung that lost
more than a little of it is measured again, and the least disturbed measurement counts.

    make bench
    python benchmarks/run.py --calls 100 --servers gateway,autobahn --seconds 5
    make bench BENCH="--servers gateway-webrtc-agent,gateway-webrtc-caller,aiortc"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from attrs import asdict, define
from load import Load, Service, TalkativeService, start_echo, start_service
from load_sip import SipLoad
from load_webrtc import RtcLoad, start_rtc_service

HERE = Path(__file__).parent
ROOT = HERE.parent
WARM_UP_SECONDS = 3.0

#: A rung is measured so often at most until no more than this share is stolen.
TRIES = 3
CALM_SHARE = 0.01


#: Servers whose callers come by C{/stream}.
STREAMS = ("gateway", "gateway-kept", "gateway-webrtc-agent")


@define
class Row:
    """One rung of one server; times in milliseconds, added to the load's own."""

    server: str
    calls: int
    cpu_ms_per_call_second: float
    added_p50_ms: float
    added_p99_ms: float
    rss_idle_mb: float
    rss_loaded_mb: float
    kb_per_call: float
    lost_calls: int
    frames_returned: float
    stolen_share: float
    setup_p50_ms: float
    setup_p99_ms: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_udp_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(server: str, port: int, agent_port: int) -> list[str]:
    url = f"ws://127.0.0.1:{agent_port}/openai/v1/realtime?model=benchmark"
    if server == "node":
        return ["node", str(HERE / "relay_node.js"), str(port), url]
    if server == "aiortc":
        return [sys.executable, str(HERE / "relay_aiortc.py"), str(port), url]
    if server == "autobahn":
        return [sys.executable, str(HERE / "relay_autobahn.py"), str(port), url]
    return [
        *(sys.executable, "-m", "twisted", "chimegw"),
        *("--port", str(port), "--insecure", "--config", str(HERE / "bench.toml")),
    ]


def server_env(
    agent_port: int,
    sip_port: int,
    *,
    keeps: bool = False,
    server: str = "gateway",
    sip_transport: str = "udp",
) -> dict[str, str]:
    """
    @param keeps: calls are recorded.
    @param sip_transport: C{udp}, C{tcp} or C{tls}; the last has a new certificate.
    """
    over_webrtc = {}
    if server == "gateway-webrtc-agent":
        over_webrtc = {"AZURE_OPENAI_TRANSPORT": "webrtc"}
    elif server == "gateway-webrtc-caller":
        over_webrtc = {
            "CHIMEGW_WEBRTC_LISTEN": f"udp:{free_udp_port()}:interface=127.0.0.1",
            "CHIMEGW_PUBLIC_ADDRESS": "127.0.0.1",
        }
    listen = f"{sip_transport}:{sip_port}:interface=127.0.0.1"
    if sip_transport == "tls":
        # With TLS alone plain RTP would be refused.
        listen += f",udp:{free_udp_port()}:interface=127.0.0.1"
    state = tempfile.mkdtemp(prefix="chimegw-bench-")
    # Two gateways may run at once: each begins somewhere else.
    rtp_port = 20_000 + 2 * random.randrange(3_000)
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CHIMEGW_STATE": state,
        **({"CHIMEGW_RECORDINGS": f"{state}/recordings"} if keeps else {}),
        "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{agent_port}",
        "AZURE_OPENAI_DEPLOYMENT": "benchmark",
        "AZURE_OPENAI_API_KEY": "benchmark",
        "CHIMEGW_SIP_LISTEN": listen,
        "CHIMEGW_SIP_ALLOW": "127.0.0.0/8",
        "CHIMEGW_RTP_PORTS": f"{rtp_port}-{rtp_port + 3_999}",
        **over_webrtc,
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, from the scheduler's own clock."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def stolen_and_all() -> tuple[int, int]:
    """Clock ticks that the host took from this machine, and all there were."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()
    ticks = [int(value) for value in first[1:9]]
    return ticks[7], sum(ticks)


def held(port: int, token: str = "") -> dict[str, int]:
    """What the gateway says it holds; with an admin token only to who has it."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as page:
        text = page.read().decode()
    found: Counter[str] = Counter()
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("chimegw_sip_held{"):
            found[name.split('"')[1]] += int(float(value))
        elif name.startswith("chimegw_calls_active"):
            found["calls"] += int(float(value))
    return dict(found)


def wait_for(port: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {seconds} s")


def quantile_ms(seconds: list[float], share: float) -> float:
    if not seconds:
        return float("nan")
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


async def floor(calls: int, seconds: float) -> tuple[float, float]:
    """What the load takes by itself: p50 and p99 in ms."""
    echo = await start_echo()
    port = echo.sockets[0].getsockname()[1]
    load = Load(f"ws://127.0.0.1:{port}/")
    await load.start(calls)
    await asyncio.sleep(0.5)
    samples = await load.measure(seconds)
    await load.stop()
    echo.close()
    return quantile_ms(samples.seconds, 0.5), quantile_ms(samples.seconds, 0.99)


async def rung(
    server: str, calls: int, seconds: float, base: tuple[float, float]
) -> Row:
    keeps = server == "gateway-kept"
    service: Any
    if server in ("gateway-webrtc-agent", "aiortc"):
        service = await start_rtc_service()
    else:
        service = await start_service(TalkativeService if keeps else Service)
    agent_port = service.sockets[0].getsockname()[1]
    port, sip_port = free_port(), free_port()
    process = subprocess.Popen(
        ["taskset", "-c", "0", *command(server, port, agent_port)],
        env=server_env(agent_port, sip_port, keeps=keeps, server=server),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        await asyncio.sleep(0.5)
        idle = rss_mb(process.pid)
        path = "/stream" if server in STREAMS else "/"
        path = "/stream/raw" if server == "gateway-raw" else path
        load: Load | SipLoad | RtcLoad = Load(f"ws://127.0.0.1:{port}{path}")
        if server == "gateway-sip":
            load = SipLoad("127.0.0.1", sip_port)
        elif server == "gateway-webrtc-caller":
            load = RtcLoad(port)
        await load.start(calls)
        await asyncio.sleep(WARM_UP_SECONDS)
        stolen, ticks = stolen_and_all()
        before, began = cpu_seconds(process.pid), time.monotonic()
        samples = await load.measure(seconds)
        used = cpu_seconds(process.pid) - before
        lasted = time.monotonic() - began
        loaded = rss_mb(process.pid)
        stolen_now, ticks_now = stolen_and_all()
        lost = sum(not c.is_open or not c.received for c in load.callers)
        setups = [c.first_after for c in load.callers if c.received]
        await load.stop()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.close()
    return Row(
        server=server,
        calls=calls,
        cpu_ms_per_call_second=used / lasted / calls * 1000,
        added_p50_ms=quantile_ms(samples.seconds, 0.5) - base[0],
        added_p99_ms=quantile_ms(samples.seconds, 0.99) - base[1],
        rss_idle_mb=idle,
        rss_loaded_mb=loaded,
        kb_per_call=(loaded - idle) * 1024 / calls,
        lost_calls=lost,
        frames_returned=samples.received / max(1, samples.sent),
        stolen_share=(stolen_now - stolen) / max(1, ticks_now - ticks),
        setup_p50_ms=quantile_ms(setups, 0.5),
        setup_p99_ms=quantile_ms(setups, 0.99),
    )


async def calm_rung(
    server: str, calls: int, seconds: float, base: tuple[float, float]
) -> Row:
    """The least disturbed of some tries."""
    rows: list[Row] = []
    for _ in range(TRIES):
        rows.append(await rung(server, calls, seconds, base))
        if rows[-1].stolen_share <= CALM_SHARE:
            break
    return min(rows, key=lambda row: row.stolen_share)


HEAD = (
    f"{'server':21} {'calls':>5} {'CPU ms/call-s':>13} {'p50 ms':>7} {'p99 ms':>7}"
    f" {'RSS MB':>7} {'KB/call':>8} {'lost':>4} {'frames':>7} {'stolen':>6}"
    f" {'set-up':>7} {'p99 ms':>7}"
)


def show(row: Row) -> str:
    return (
        f"{row.server:21} {row.calls:5} {row.cpu_ms_per_call_second:13.2f}"
        f" {row.added_p50_ms:7.2f} {row.added_p99_ms:7.2f} {row.rss_loaded_mb:7.1f}"
        f" {row.kb_per_call:8.1f} {row.lost_calls:4} {row.frames_returned:7.1%}"
        f" {row.stolen_share:6.1%} {row.setup_p50_ms:7.1f} {row.setup_p99_ms:7.1f}"
    )


async def run(options: Any) -> list[Row]:
    rows: list[Row] = []
    print(HEAD, flush=True)
    for calls in options.calls:
        base = await floor(calls, min(4.0, options.seconds))
        print(
            f"{'(load alone)':21} {calls:5} {'':13} {base[0]:7.2f} {base[1]:7.2f}",
            flush=True,
        )
        for server in options.servers:
            row = await calm_rung(server, calls, options.seconds, base)
            rows.append(row)
            print(show(row), flush=True)
    return rows


def ratios(rows: list[Row]) -> list[str]:
    by = {(row.server, row.calls): row for row in rows}
    lines = []
    for (server, calls), row in by.items():
        reference = by.get(("autobahn", calls))
        if server == "gateway" and reference is not None:
            share = row.cpu_ms_per_call_second / reference.cpu_ms_per_call_second
            lines.append(
                f"{calls:5} calls: the gateway takes {share:.0%} of the CPU of the"
                " bare Autobahn relay"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", default="1,10,50,100,150")
    parser.add_argument("--servers", default="gateway,gateway-sip,autobahn,node")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", default=str(HERE / "results" / "latest.json"))
    options = parser.parse_args()
    options.calls = [int(n) for n in options.calls.split(",")]
    options.servers = options.servers.split(",")
    if "node" in options.servers and not shutil.which("node"):
        print("node is not installed: its relay is left out", file=sys.stderr)
        options.servers.remove("node")
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = uvloop.run(run(options))
    print(*ratios(rows), sep="\n")
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cpu": cpu_model(), "python": platform.python_version()}
    document = {**machine, "rows": [asdict(row) for row in rows]}
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written to {out}")


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
