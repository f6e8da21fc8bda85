"""
The after-effects of a stop of the gateway's process: how late audio is before and after
it, on its way to the model and at the caller's ear.

Callers send audio and the model echoes it.  The process gets SIGSTOP, and
SIGCONT after some seconds; then delays are shown second by second.  At the ear a
frame is delayed by the frames before it that are not played yet, as in a carrier's
buffer; with RTP the time of arrival counts.

    python benchmarks/stopped.py
    python benchmarks/stopped.py --servers gateway-sip --calls 15 --stop 3
    python benchmarks/stopped.py --starve 10

With C{--starve SECONDS} it is stopped repeatedly during this time, as on a machine with
other loads: for 0.1 to 0.6 s every 0.5 to 2 s, drawn from a seed.  Delays are shown
from the end of this phase.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import signal
import subprocess
import time
import urllib.request
from typing import Any

import uvloop
from attrs import define, field
from load import (
    _STAMP,
    APPEND,
    FRAME_BYTES,
    PTIME_SECONDS,
    Caller,
    Load,
    Service,
    start_service,
)
from load_sip import SipCaller, SipLoad
from picows import WSFrame, WSTransport
from server import command, free_port, quantile_ms, server_env, wait_for

#: A greater age means that the bytes came from two frames and are not a time.
_MOST_SECONDS = 30.0


@define
class Delays:
    """Delays of frames in seconds, with the time at which each was heard."""

    found: list[tuple[float, float]] = field(factory=list)

    def note(self, audio: bytes, heard_at: float) -> None:
        delay = heard_at - _STAMP.unpack_from(audio)[0] / 1e9
        if 0.0 <= delay < _MOST_SECONDS:
            self.found.append((heard_at, delay))

    def between(self, start: float, end: float) -> str:
        some = [delay for at, delay in self.found if start <= at < end]
        p50, p99 = quantile_ms(some, 0.5), quantile_ms(some, 0.99)
        return f"{p50:7.0f}/{p99:5.0f}"


TO_MODEL = Delays()
TO_EAR = Delays()


class ListeningService(Service):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if APPEND in payload[:60]:
            start = payload.index(b'"audio":"') + 9
            audio = base64.b64decode(payload[start : payload.index(b'"', start)])
            for at in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
                TO_MODEL.note(audio[at:], time.monotonic())
        super().on_ws_frame(transport, frame)


class _Ear:
    """The carrier's playout buffer."""

    def __init__(self) -> None:
        self.dry_at = 0.0

    def hear(self, audio: bytes) -> None:
        now = time.monotonic()
        for at in range(0, len(audio) - FRAME_BYTES + 1, FRAME_BYTES):
            heard_at = max(now, self.dry_at)
            self.dry_at = heard_at + PTIME_SECONDS
            TO_EAR.note(audio[at:], heard_at)


def listen(load: Load | SipLoad) -> None:
    """Measure the audio that callers hear."""
    for caller in load.callers:
        if isinstance(caller, SipCaller):
            _listen_to_packets(caller)
        else:
            _listen_to_messages(caller)


def _listen_to_packets(caller: SipCaller) -> None:
    receive = caller.datagram_received

    def received(data: bytes, addr: Any) -> None:
        if data[12:20] != b"\xff" * 8:
            TO_EAR.note(data[12:], time.monotonic())
        receive(data, addr)

    caller.datagram_received = received  # type: ignore[method-assign]


def _listen_to_messages(caller: Caller) -> None:
    ear = _Ear()
    caller._audio = ear.hear  # type: ignore[method-assign]


def overdue(port: int) -> int:
    """Return the number of skipped frames, from the metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.startswith('chimegw_frames_dropped_total{reason="overdue"}'):
                return round(float(line.split()[-1]))
    return 0


async def starve(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Stop the process again and again for short times."""
    rng = random.Random(seconds)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0.1, 0.6))
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(rng.uniform(0.5, 2.0))


async def measure(server: str, calls: int, stop: float, starves: float) -> None:
    service = await start_service(ListeningService)
    agent_port = service.sockets[0].getsockname()[1]
    port, sip_port = free_port(), free_port()
    process = subprocess.Popen(
        command(server, port, agent_port),
        env=server_env(agent_port, sip_port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        await asyncio.sleep(0.5)
        path = "/stream/raw" if server == "gateway-raw" else "/stream"
        load: Load | SipLoad = Load(f"ws://127.0.0.1:{port}{path}")
        if server == "gateway-sip":
            load = SipLoad("127.0.0.1", sip_port)
        await load.start(calls)
        listen(load)
        await asyncio.sleep(3.0)
        stopped_at = time.monotonic()
        if starves:
            await starve(process, starves)
        else:
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(stop)
            process.send_signal(signal.SIGCONT)
        went_on_at = time.monotonic()
        await asyncio.sleep(7.0)
        count = await asyncio.to_thread(overdue, port)
        await load.stop()
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.close()
    spans = [
        (stopped_at - 2, stopped_at),
        *((went_on_at + n, went_on_at + n + 1) for n in (0, 1, 2, 5)),
    ]
    for name, delays in (("to the model", TO_MODEL), ("to the ear", TO_EAR)):
        shown = "".join(delays.between(*span) for span in spans)
        print(f"{server:12} {name:14}{shown}{count:9}", flush=True)
        delays.found.clear()


async def run(options: Any) -> None:
    print(
        f"{'p50/p99 in ms':27}{'before':>13}"
        + "".join(f"{f'{n} s after':>13}" for n in (0, 1, 2, 5))
        + "  overdue"
    )
    for server in options.servers.split(","):
        await measure(server, options.calls, options.stop, options.starve)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--stop", type=float, default=3.0)
    parser.add_argument("--starve", type=float, default=0.0)
    parser.add_argument("--servers", default="gateway,gateway-raw,gateway-sip")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
