"""
Random SIP dialogs: are all resources released, and is no bug logged?

Callers that break every rule (tests/support/unruly_caller.py) call a gateway as in
production, with the simulated service: a hundred at a time, over UDP on loopback, with
both address families.  They open calls, send nonsense, answer or do not answer, send
invalid media, and vanish.  At the end the suite counts what the gateway still holds
(calls, legs, dialogs, transactions, ports, connections), and tracebacks in its log.
The dialogs are drawn from a seed, and their number is fixed.

    make long SUITES=dialogs
    make dialogs DIALOGS="--dialogs 500 --seed 7"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from server import free_port, held, server_env, wait_for

from tests.support.unruly_caller import UnrulyCaller

AT_ONCE = 100

#: The pause between two messages of one caller; sometimes four times as long, or none.
GAP_SECONDS = 0.15

#: A twentieth of the default, so that state that lives for 64 * T1 is soon gone.
T1_SECONDS = 0.05
MEDIA_TIMEOUT_SECONDS = 3.0

#: Time for the last transactions, media time-outs and BYEs.  The transaction of the
#: gateway's own refused INVITE lives 32 s for any T1 (RFC 3261 section 17.1.1.2).
LINGER_SECONDS = 60.0

SETTINGS = f"""
[limits]
max_calls = 1000
max_cpu = 8
max_late_seconds = 8

[sip]
calls_per_second = 1000.0
media_timeout_seconds = {MEDIA_TIMEOUT_SECONDS}
t1_seconds = {T1_SECONDS}
"""

FAMILIES = {"127.0.0.1": "127.0.0.1", "::1": "[::1]"}


def free_udp_port() -> int:
    """Find a port that is free in both address families."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        port: int = probe.getsockname()[1]
        return port


class Line(asyncio.DatagramProtocol):
    """The socket of one caller."""

    def __init__(self, gateway: tuple[str, int], counts: Counter[str]) -> None:
        self._gateway = gateway
        self._counts = counts
        self.caller: UnrulyCaller | None = None
        self.transport: Any = None
        self.media_port = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        first, _, _ = data.partition(b"\r\n")
        self._counts[first[8:11].decode() if first[:4] == b"SIP/" else "requests"] += 1
        found = re.search(rb"^m=audio (\d+)", data, re.MULTILINE)
        if found is not None:
            self.media_port = int(found[1])
        if self.caller is None:
            return  # it was for an earlier user of this port
        for answer in self.caller.heard(data):
            self.say(answer)

    def say(self, data: bytes) -> None:
        self.transport.sendto(data[:60_000], self._gateway)


async def dialog(
    name: str, seed: int, sip_port: int, counts: Counter[str], gap_seconds: float
) -> None:
    rng = random.Random(f"{seed} {name}")
    host = rng.choice(tuple(FAMILIES))
    loop = asyncio.get_running_loop()
    gateway = (host, sip_port)
    transport, line = await loop.create_datagram_endpoint(
        lambda: Line(gateway, counts), local_addr=(host, 0)
    )
    media, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=(host, 0)
    )
    try:
        line.caller = caller = UnrulyCaller(
            rng,
            here=transport.get_extra_info("sockname")[:2],
            media=media.get_extra_info("sockname")[:2],
            there=FAMILIES[host],
            name=name,
        )
        line.say(caller.opening())
        for _ in range(rng.randrange(1, 14)):
            await asyncio.sleep(rng.choice((0.0, gap_seconds, 4 * gap_seconds)))
            line.say(caller.next())
            if line.media_port:
                head = rng.choice((b"\x80\x00", b"\x80\xc8", b""))
                media.sendto(head + rng.randbytes(170), (host, line.media_port))
        if rng.random() < 0.7:
            await asyncio.sleep(8 * gap_seconds)  # it still answers before it vanishes
    finally:
        transport.close()
        media.close()


async def watched(port: int, process: subprocess.Popen[bytes]) -> Any:
    """Wait until nothing is held, or for the time limit; return what is held."""
    loop = asyncio.get_running_loop()
    deadline = time.monotonic() + LINGER_SECONDS
    while True:
        left = await loop.run_in_executor(None, held, port)
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        if process.poll() is not None:
            raise SystemExit("the gateway has ended")
        await asyncio.sleep(0.5)


def faults_in(log: Path) -> list[str]:
    """Return log lines that report a bug."""
    signs = ("Traceback", '"log_failure"', '"name": "critical"')
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if any(sign in line for sign in signs)]


async def many(dialogs: int, seed: int) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="chimegw-dialogs-"))
    (folder / "dialogs.toml").write_text(SETTINGS)
    log = folder / "gateway.log"
    port, sip_port = free_port(), free_udp_port()
    env = server_env(0, sip_port) | {
        "CHIMEGW_SIP_LISTEN": f"udp:{sip_port}:interface=::",
        "CHIMEGW_SIP_ALLOW": "127.0.0.0/8,::1/128",
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "twisted", "chimegw", "--simulate"),
                *("--port", str(port), "--insecure"),
                *("--config", str(folder / "dialogs.toml")),
            ],
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    counts: Counter[str] = Counter()
    most: Counter[str] = Counter()
    try:
        wait_for(port)
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        for first in range(0, dialogs, AT_ONCE):
            batch = range(first, min(first + AT_ONCE, dialogs))
            await asyncio.gather(
                *(dialog(f"d{n}", seed, sip_port, counts, GAP_SECONDS) for n in batch)
            )
            now = await loop.run_in_executor(None, held, port)
            most |= Counter(now)
            if batch.stop % 500 == 0:
                print(f"{batch.stop:6} dialogs, {now}", flush=True)
        seconds = time.monotonic() - began
        left = await watched(port, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    faults = faults_in(log)
    for line in faults[:5]:
        print(line[:2000])
    print(f"{dialogs} dialogs in {seconds:.0f} s; seed {seed}; log {log}")
    print("answers:", dict(sorted(counts.items())))
    print("held at most:", dict(most), "and at last:", left)
    answered = counts["200"]
    print(
        json.dumps(
            {
                "dialogs": dialogs,
                "answers": sum(counts.values()),
                "answered with 200": answered,
                "held": sum(left.values()),
                "tracebacks": len(faults),
            }
        )
    )
    # A gateway that answered no call would hold nothing, either.
    return answered > dialogs / 20 and not any(left.values()) and not faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--dialogs", type=int, help="the number of dialogs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dialogs = options.dialogs or (600 if options.short else 10_000)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.exit(0 if uvloop.run(many(dialogs, options.seed)) else 1)


if __name__ == "__main__":
    main()
