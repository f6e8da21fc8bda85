"""
Overload: the audio of admitted calls while more calls arrive than can be served, and
how fast the others are refused.

A gateway admits N calls and no more.  First they are measured alone, then while new
callers arrive at a rate that would make K times N calls (a call lasts 20 s here).  Then
a storm: a fixed number of new calls per second, over the media stream and over SIP,
with the time from the first byte of each to its refusal.

    python benchmarks/overload.py
    python benchmarks/overload.py --calls 60 --times 2,4 --seconds 20 --storm 100
    python benchmarks/overload.py --by cpu --calls 400

With C{--by cpu} only the process's CPU load limits admission, and N is the number of
calls offered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop
from load import Load, start_service
from load_sip import SipLoad
from server import cpu_seconds, free_port, quantile_ms, server_env, wait_for

#: The duration of a call in the overload phases.
CALL_SECONDS = 20.0

UPGRADE = (
    b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
#: A text message, and a close with 1000, masked with zeros.
START = b'{"event":"start","start":{}}'
START_FRAME = bytes([0x81, 0x80 | len(START), 0, 0, 0, 0]) + START
CLOSE_FRAME = bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8])


class Refusals:
    """The answers to refused calls, and the time until each."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.by_answer: Counter[str] = Counter()

    def note(self, answer: str, seconds: float) -> None:
        self.by_answer[answer] += 1
        if answer not in ("in, or told", "nothing"):
            self.seconds.append(seconds)

    def __str__(self) -> str:
        p50, p99 = quantile_ms(self.seconds, 0.5), quantile_ms(self.seconds, 0.99)
        most = max(self.seconds, default=float("nan")) * 1000
        answers = ", ".join(f"{n} {what}" for what, n in self.by_answer.most_common())
        return f"p50 {p50:.1f} p99 {p99:.1f} max {most:.1f} ms ({answers})"


async def knock(port: int, refusals: Refusals, stays: float) -> None:
    """
    Try one new call over the media stream.

    @param stays: the time for which an admitted call is held, in seconds.
    """
    began = time.monotonic()
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        status = head.split(b" ", 2)[1].decode()
        if status != "101":
            refusals.note(f"HTTP {status}", time.monotonic() - began)
            return
        with suppress(RuntimeError):  # closed already
            writer.write(START_FRAME)
        first = await asyncio.wait_for(reader.readexactly(2), 10)
        if first[0] == 0x88:
            code = int.from_bytes(await reader.readexactly(2), "big")
            refusals.note(f"close {code}", time.monotonic() - began)
            return
        refusals.note("in, or told", 0)
        await asyncio.sleep(stays)
        writer.write(CLOSE_FRAME)
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
        refusals.note(type(exc).__name__, time.monotonic() - began)
    finally:
        if writer is not None:
            writer.close()


class SipKnocker(SipLoad):
    async def open(self) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self._signalling, local_addr=("127.0.0.1", 0)
        )
        transport = self._signalling.transport
        self._port = transport.get_extra_info("sockname")[1]

    async def knock(self, number: int, refusals: Refusals) -> None:
        """Try one new call over SIP."""
        call_id = f"storm-{number}"
        to = f"<sip:bench@{self._remote[0]}>"
        sdp = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=audio 9 RTP/AVP 0\r\n"
        )
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._signalling.waiting[call_id] = future
        began = time.monotonic()
        self._send(self._message("INVITE", call_id, to, 1, sdp))
        try:
            answer = await asyncio.wait_for(future, 10)
        except TimeoutError:
            refusals.note("nothing", 10)
            return
        refusals.note(f"SIP {answer[8:11]}", time.monotonic() - began)
        to = answer.partition("\r\nTo: ")[2].partition("\r\n")[0]
        ack = self._message("ACK", call_id, to, 1, "")
        # The ACK of a refusal belongs to its INVITE's transaction.
        self._send(ack.replace(f"{call_id}ACK1", f"{call_id}INVITE1"))


async def storm(
    rate: float, seconds: float, knocking: Callable[[int], Awaitable[None]]
) -> None:
    """Start calls at a fixed rate, however long each takes."""
    tasks: list[asyncio.Task[Any]] = []
    began = time.monotonic()
    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.ensure_future(knocking(number)))
    await asyncio.gather(*tasks)


class Gateway:
    """A gateway with these limits, on its own cores."""

    def __init__(self, agent_port: int, limits: str, cores: str) -> None:
        self.port, self.sip_port = free_port(), free_port()
        config = Path(tempfile.mkdtemp(prefix="chimegw-bench-")) / "overload.toml"
        config.write_text(f"[limits]\n{limits}\n[sip]\ncalls_per_second = 10000\n")
        arguments = ("--port", str(self.port), "--insecure", "--config", str(config))
        self.process = subprocess.Popen(
            [
                *("taskset", "-c", cores),
                *(sys.executable, "-m", "twisted", "chimegw", *arguments),
            ],
            env=server_env(agent_port, self.sip_port),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.port)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


async def measured(load: Load, gateway: Gateway, seconds: float, what: str) -> None:
    before, began = cpu_seconds(gateway.process.pid), time.monotonic()
    samples = await load.measure(seconds)
    used = cpu_seconds(gateway.process.pid) - before
    share = used / (time.monotonic() - began)
    lost = sum(not caller.is_open for caller in load.callers)
    p50, p99 = quantile_ms(samples.seconds, 0.5), quantile_ms(samples.seconds, 0.99)
    print(
        f"{what:28} {len(load.callers):4} in, p50 {p50:6.1f} p99 {p99:6.1f} ms,"
        f" {samples.received / max(1, samples.sent):6.1%} of frames, {lost} lost,"
        f" CPU {share:.0%}",
        flush=True,
    )


async def by_calls(options: Any, agent_port: int) -> None:
    limits = f"max_calls = {options.calls}\nmax_cpu = 8\nmax_late_seconds = 8"
    if options.apologies is not None:
        limits += f"\nmax_apologies = {options.apologies}"
    gateway = Gateway(agent_port, limits, options.cores)
    try:
        load = Load(f"ws://127.0.0.1:{gateway.port}/stream")
        await load.start(options.calls)
        await asyncio.sleep(3)
        await measured(load, gateway, options.seconds, "alone")
        for times in options.times:
            refusals = Refusals()
            rate = (times - 1) * options.calls / CALL_SECONDS
            knocking = asyncio.create_task(
                storm(
                    rate,
                    options.seconds + 1,
                    lambda _, to=refusals: knock(gateway.port, to, 1.0),  # type: ignore[misc]
                )
            )
            await asyncio.sleep(0.5)
            await measured(load, gateway, options.seconds, f"{times:g} x overload")
            await knocking
            print(f"{'':28} refusals {refusals}", flush=True)
        for name in ("stream", "SIP"):
            refusals = Refusals()
            sip = SipKnocker("127.0.0.1", gateway.sip_port)
            await sip.open()

            async def one(number: int, name: str = name) -> None:
                if name == "SIP":
                    await sip.knock(number, refusals)  # noqa: B023
                else:
                    await knock(gateway.port, refusals, 1.0)  # noqa: B023

            storming = asyncio.create_task(storm(options.storm, options.seconds, one))
            await measured(
                load, gateway, options.seconds, f"storm {options.storm:g}/s {name}"
            )
            await storming
            print(f"{'':28} refusals {refusals}", flush=True)
        await load.stop()
    finally:
        gateway.stop()


async def by_cpu(options: Any, agent_port: int) -> None:
    """Offer calls until the process refuses them, then continue with a storm."""
    gateway = Gateway(agent_port, "max_calls = 2000\nmax_apologies = 0", options.cores)
    try:
        load = Load(f"ws://127.0.0.1:{gateway.port}/stream")
        refused = 0
        while len(load.callers) < options.calls and refused < 20:
            try:
                await load.start(1)
            except Exception:  # picows raises several types for a refused handshake
                refused += 1
                await asyncio.sleep(0.2)
        await asyncio.sleep(3)
        await measured(load, gateway, options.seconds, "up to the limit")
        refusals = Refusals()
        knocking = asyncio.create_task(
            storm(
                options.storm,
                options.seconds + 1,
                lambda _: knock(gateway.port, refusals, CALL_SECONDS),
            )
        )
        await asyncio.sleep(0.5)
        await measured(load, gateway, options.seconds, f"storm {options.storm:g}/s")
        await knocking
        print(f"{'':28} refusals {refusals}", flush=True)
        await load.stop()
    finally:
        gateway.stop()


async def run(options: Any) -> None:
    service = await start_service()
    agent_port = service.sockets[0].getsockname()[1]
    await (by_cpu if options.by == "cpu" else by_calls)(options, agent_port)
    service.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--by", choices=("calls", "cpu"), default="calls")
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--times", default="2,4")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--storm", type=float, default=100.0)
    parser.add_argument("--apologies", type=int)
    parser.add_argument("--cores", default="0")
    options = parser.parse_args()
    options.times = [float(n) for n in options.times.split(",")]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    uvloop.run(run(options))


if __name__ == "__main__":
    main()
