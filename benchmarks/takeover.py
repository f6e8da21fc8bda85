"""
Take-overs under load: what callers and those who call in between notice of them.

Callers talk and the model returns all that it hears.  The gateway is told to start its
successor, again and again; meanwhile somebody calls without a pause: over the media
stream a new call each time, over SIP an OPTIONS.  Each has to be answered; the longest
time to an answer is beside the same without a take-over.

    python benchmarks/takeover.py
    python benchmarks/takeover.py --servers gateway-sip --calls 20 --takeovers 2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import uvloop
from attrs import define, field
from load import Caller, Load, Samples, Talkers, start_service
from load_sip import SipLoad
from picows import ws_connect
from run import command, free_port, quantile_ms, server_env, wait_for

_WAIT_SECONDS = 60.0

#: An answer that takes longer is none.
_MOST_SECONDS = 10.0


@define
class Newcomers:
    """
    Those who call while it goes on, one after the other.

    @ivar seconds: to each answer, by when it was asked for.
    @ivar failures: who found nobody, and why.
    """

    seconds: list[tuple[float, float]] = field(factory=list)
    failures: list[str] = field(factory=list)

    async def come(self, call: Any) -> None:
        while True:
            begun = time.monotonic()
            try:
                await asyncio.wait_for(call(), _MOST_SECONDS)
            except (OSError, TimeoutError, ConnectionError, SystemExit) as exc:
                self.failures.append(repr(exc))
            else:
                self.seconds.append((begun, time.monotonic() - begun))
            await asyncio.sleep(0.02)

    def between(self, start: float, end: float) -> list[float]:
        return [took for begun, took in self.seconds if start <= begun < end]


class Gaps:
    """The longest time without audio that each caller has had."""

    def __init__(self, load: Talkers) -> None:
        self.longest = 0.0
        for caller in load.callers:
            self._listen(caller)

    def _listen(self, caller: Any) -> None:
        name = "_audio" if isinstance(caller, Caller) else "datagram_received"
        heard, last = getattr(caller, name), time.monotonic()

        def listen(*what: Any) -> None:
            nonlocal last
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now
            heard(*what)

        setattr(caller, name, listen)


async def stream_call(url: str) -> None:
    """A call that begins, hears itself, and ends."""
    samples = Samples()
    transport, listener = await ws_connect(lambda: Caller(samples, False), url)
    assert isinstance(listener, Caller)
    try:
        while not listener.received:
            if not listener.is_open:
                raise ConnectionError("the call was ended")
            listener.send_frame()
            await asyncio.sleep(0.02)
        transport.send_close()
    finally:
        transport.disconnect()


class Options(asyncio.DatagramProtocol):
    """Is there anybody?  Sent again as UDP wants it (RFC 3261 section 17.1.2.2)."""

    def __init__(self, port: int) -> None:
        self._remote = ("127.0.0.1", port)
        self._number = 0
        self._answered = asyncio.Event()
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if f"CSeq: {self._number} ".encode() in data and b" 200 " in data[:13]:
            self._answered.set()

    async def ask(self) -> None:
        self._number += 1
        self._answered.clear()
        host, port = self._transport.get_extra_info("sockname")
        text = (
            f"OPTIONS sip:{self._remote[0]}:{self._remote[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKo{self._number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:o@127.0.0.1>;tag=o{self._number}\r\n"
            f"To: <sip:bench@127.0.0.1>\r\nCall-ID: options-{self._number}-{port}\r\n"
            f"CSeq: {self._number} OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        # Not again: what is lost shows.
        self._transport.sendto(text.encode(), self._remote)
        await self._answered.wait()


def newest(state: str) -> dict[str, Any]:
    (path,) = Path(state).glob("process-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


async def take_over(state: str) -> None:
    before = newest(state)
    os.kill(before["pid"], signal.SIGUSR2)
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(0.02)
        now = newest(state)
        if now["takeovers"] > before["takeovers"] and now["outcome"] == "failed":
            raise SystemExit(f"no successor: {now['why']}")
        if now["takeovers"] > before["takeovers"] and now["outcome"] == "done":
            return
    raise SystemExit(f"no successor after {_WAIT_SECONDS:g} s")


async def measure(server: str, calls: int, count: int) -> None:
    service = await start_service()
    agent_port = service.sockets[0].getsockname()[1]
    port, sip_port = free_port(), free_port()
    env = server_env(agent_port, sip_port)
    process = subprocess.Popen(
        command(server, port, agent_port),
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    newcomers = Newcomers()
    try:
        wait_for(port)
        await asyncio.sleep(1.0)
        url = f"ws://127.0.0.1:{port}/stream"
        load: Load | SipLoad = Load(url)
        call: Any = lambda: stream_call(url)  # noqa: E731
        if server == "gateway-sip":
            load = SipLoad("127.0.0.1", sip_port)
            asking = Options(sip_port)
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: asking, local_addr=("127.0.0.1", 0)
            )
            call = asking.ask
        # Of streams, a part begins with each process.
        share = max(1, calls // (count + 1))
        is_stream = isinstance(load, Load)
        await load.start(calls - count * share if is_stream else calls)
        coming = asyncio.create_task(newcomers.come(call))
        gaps = Gaps(load)
        await asyncio.sleep(3.0)
        quiet_gap, begun = gaps.longest, time.monotonic()
        gaps.longest = 0.0
        for _ in range(count):
            await take_over(env["CHIMEGW_STATE"])
            if is_stream:
                await load.start(share)
            await asyncio.sleep(1.0)
        ended = time.monotonic()
        coming.cancel()
        received = [caller.received for caller in load.callers]
        await asyncio.sleep(1.0)
        lost = sum(
            not caller.is_open or caller.received == before
            for caller, before in zip(load.callers, received, strict=True)
        )
        total = len(load.callers)
        await load.stop()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        service.close()
    quiet = newcomers.between(0, begun)
    during = newcomers.between(begun, ended)
    print(
        f"{server:12}{total:6}{count:7}{lost:6}"
        f"{quiet_gap * 1000:8.0f}{gaps.longest * 1000:8.0f}"
        f"{len(during):10}{len(newcomers.failures):8}"
        f"{quantile_ms(quiet, 0.5):8.0f}{max(quiet) * 1000:8.0f}"
        f"{quantile_ms(during, 0.5):8.0f}{max(during) * 1000:8.0f}",
        flush=True,
    )
    for why in newcomers.failures[:5]:
        print(f"  {why}")


async def run(options: Any) -> None:
    print(f"{'':31}{'gap, ms':^16}{'':18}{'to an answer, ms: p50 max':>30}")
    print(
        f"{'':12}{'calls':>6}{'times':>7}{'lost':>6}{'before':>8}{'then':>8}"
        f"{'newcomers':>10}{'refused':>8}{'before':>16}{'then':>16}"
    )
    for server in options.servers.split(","):
        await measure(server, options.calls, options.takeovers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--takeovers", type=int, default=5)
    parser.add_argument("--servers", default="gateway,gateway-sip")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
