"""
Take-overs under load: their effect on running calls and on newcomers.

Callers send audio and the model echoes it.  The gateway starts its successor
repeatedly.  Meanwhile newcomers arrive without a pause: over the media
stream a new call each time, over SIP an OPTIONS request.  Each has to be answered; the
longest time to an answer is shown next to that without a take-over.  The calls over TCP
and TLS share one connection, which stays with its process.

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
from load_sip import Signalling, SipLoad, signalling
from picows import ws_connect
from server import command, free_port, quantile_ms, server_env, wait_for

#: SIP is over UDP unless the name says otherwise.
SERVERS = ("gateway", "gateway-sip", "gateway-sip-tcp", "gateway-sip-tls")

_WAIT_SECONDS = 60.0

#: After this time an answer counts as missing.
_MOST_SECONDS = 10.0


@define
class Newcomers:
    """
    Callers that arrive during take-overs, one after the other.

    @ivar seconds: time of each request, and the seconds until its answer.
    @ivar failures: errors of those that got no answer.
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
    """The longest time without audio that any caller has had."""

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
    """Make a call that ends when it has heard its echo."""
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


class Options:
    """
    SIP OPTIONS requests: over UDP without retransmission, so that losses show; over TCP
    and TLS each on a new connection.
    """

    def __init__(self, transport: str, port: int) -> None:
        self._transport = transport
        self._remote = ("127.0.0.1", port)
        self._number = 0
        self._socket: Signalling | None = None

    async def ask(self) -> None:
        self._number += 1
        if self._socket is None or self._transport != "udp":
            self._socket = await signalling(self._transport, self._remote)
        found = self._socket
        try:
            host, port = found.transport.get_extra_info("sockname")
            call_id = f"options-{self._number}-{port}"
            answer = asyncio.get_running_loop().create_future()
            found.waiting = {call_id: answer}
            found.send(
                f"OPTIONS sip:{self._remote[0]}:{self._remote[1]} SIP/2.0\r\n"
                f"Via: SIP/2.0/{self._transport.upper()} {host}:{port}"
                f";branch=z9hG4bK{call_id};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:o@127.0.0.1>;tag=o{self._number}\r\n"
                f"To: <sip:bench@127.0.0.1>\r\nCall-ID: {call_id}\r\n"
                f"CSeq: {self._number} OPTIONS\r\nContent-Length: 0\r\n\r\n",
                self._remote,
            )
            text = await answer
            if not text.startswith("SIP/2.0 200"):
                raise ConnectionError(text.partition("\r\n")[0])
        finally:
            if self._transport != "udp":
                found.transport.abort()


def certificate(state: str) -> dict[str, str]:
    """Make a self-signed certificate, and return its settings."""
    key, chain = f"{state}/tls.key", f"{state}/tls.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-days", "1", "-keyout", key, "-out", chain),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return {"CHIMEGW_SIP_CERTIFICATE": chain, "CHIMEGW_SIP_PRIVATE_KEY": key}


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
    _, is_sip, transport = server.partition("gateway-sip")
    transport = transport.removeprefix("-") or "udp"
    env = server_env(agent_port, sip_port, sip_transport=transport)
    if transport == "tls":
        env |= certificate(env["CHIMEGW_STATE"])
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
        if is_sip:
            load = SipLoad("127.0.0.1", sip_port, transport=transport)
            call = Options(transport, sip_port).ask
        # With media streams, each process gets a part of the calls.
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
        f"{server:16}{total:6}{count:7}{lost:6}"
        f"{quiet_gap * 1000:8.0f}{gaps.longest * 1000:8.0f}"
        f"{len(during):10}{len(newcomers.failures):8}"
        f"{quantile_ms(quiet, 0.5):8.0f}{max(quiet) * 1000:8.0f}"
        f"{quantile_ms(during, 0.5):8.0f}{max(during) * 1000:8.0f}",
        flush=True,
    )
    for why in newcomers.failures[:5]:
        print(f"  {why}")


async def run(options: Any) -> None:
    print(f"{'':35}{'gap, ms':^16}{'':18}{'to an answer, ms: p50 max':>30}")
    print(
        f"{'':16}{'calls':>6}{'times':>7}{'lost':>6}{'before':>8}{'then':>8}"
        f"{'newcomers':>10}{'refused':>8}{'before':>16}{'then':>16}"
    )
    for server in options.servers.split(","):
        await measure(server, options.calls, options.takeovers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--takeovers", type=int, default=5)
    parser.add_argument("--servers", default=",".join(SERVERS))
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
