"""
Calls over the Kinesis carrier: their CPU cost, and how late the agent is heard.

The gateway runs as in production, on its own core; AWS, the Lambda, the
callers and the Realtime service are simulated in this process, on another core.  Every
call says a sentence and hears it back.  The number of calls is fixed.

    make bench-kinesis
    make bench-kinesis BENCH="--calls 50 --updates 25"
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from server import cpu_seconds, free_port, stolen_and_all
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from chime_gateway.audio import PCMU
from chime_gateway.aws import sma
from chime_gateway.cli.demo import prepare_call
from chime_gateway.sim.caller.caller import CallPlan, CallReport
from chime_gateway.sim.caller.kinesis_line import KinesisWorld, place_kinesis_call
from chime_gateway.sim.realtime.server import SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot

ROOT = Path(__file__).resolve().parent.parent


def function(world: list[KinesisWorld], settings: sma.Settings) -> Any:
    """Return the Lambda, in this process; its reports go directly to the queue."""

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        decision = sma.decide(event, settings)
        queue = decision.attributes.get("events", "").rpartition("/")[2]
        queues = world[0].media.queues
        for report in decision.reports:
            if queue in queues.queues:
                queues.send(queue, json.dumps(report))
        return sma.response(decision)

    return answer


def quantile(text: str, share: float) -> float:
    """Return a quantile of the histogram of replies, from its buckets, in seconds."""
    found = re.findall(
        r'chimegw_kinesis_reply_seconds_bucket{le="([^"]+)"} (\S+)', text
    )
    total = float(found[-1][1])
    below, before = 0.0, 0.0
    for edge, count in found:
        if float(count) >= share * total:
            if edge == "+Inf":
                return before
            inside = (share * total - below) / max(1.0, float(count) - below)
            return before + inside * (float(edge) - before)
        below, before = float(count), float(edge)
    return before


async def run(reactor: Any, calls: int, updates: float) -> None:
    worlds: list[KinesisWorld] = []
    placeholder = "arn:aws:chime:us-east-1:111122223333:vc/abcdef1ghij2klmno3pqr4"
    settings = sma.Settings(
        voice_connector_arn=placeholder, mode="kinesis", caller_id_number="+12065550100"
    )
    world = KinesisWorld(function(worlds, settings), reactor)
    worlds.append(world)
    aws = reactor.listenTCP(0, world.aws.site(), interface="127.0.0.1")
    world.media.listens_on(aws.getHost().port)
    service = SimulatorFactory(Parrot, reactor=reactor, api_keys=frozenset({"key"}))
    azure = reactor.listenTCP(0, service, interface="127.0.0.1")
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"[aws]\nupdates_per_second = {updates}\n")
        file.flush()
        process = subprocess.Popen(
            [
                *("taskset", "-c", "0", sys.executable, "-m", "twisted", "chimegw"),
                *("--port", str(port), "--insecure", "--config", file.name),
            ],
            env={
                **os.environ,
                **world.aws.environment(aws.getHost().port),
                **world.gateway_settings(),
                "PYTHONPATH": str(ROOT),
                "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:{azure.getHost().port}",
                "AZURE_OPENAI_DEPLOYMENT": "parrot",
                "AZURE_OPENAI_API_KEY": "key",
            },
            stdout=subprocess.DEVNULL,
        )
        try:
            await deferLater(reactor, 3.0)
            await measure(reactor, world, calls, process.pid, port)
        finally:
            process.send_signal(signal.SIGTERM)
            await deferLater(reactor, 1.0)
            process.kill()
            process.wait()


async def measure(
    reactor: Any, world: KinesisWorld, calls: int, pid: int, port: int
) -> None:
    said = prepare_call((), PCMU, interrupt_after=None).utterances
    # Callers who are answered early wait, so that all calls overlap for a while.
    plan = CallPlan(utterances=said * 3, answer_seconds=30.0)
    stolen, ticks = stolen_and_all()
    before, began = cpu_seconds(pid), time.monotonic()
    placed: list[Deferred[CallReport]] = []
    for _ in range(calls):
        placed.append(place_kinesis_call(world, plan))
        await deferLater(reactor, 6.0 / calls)
    reports = await gatherResults(placed)
    used = cpu_seconds(pid) - before
    lasted = time.monotonic() - began
    stolen_now, ticks_now = stolen_and_all()
    seconds = sum(len(report.said) / PCMU.bytes_per_second for report in reports)
    page = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    text = await fetch(reactor, page)
    answered = sum(len(report.answer_latencies) for report in reports)
    latencies = sorted(s for report in reports for s in report.answer_latencies)
    share = (stolen_now - stolen) / max(1, ticks_now - ticks)
    print(
        f"{calls} calls, {seconds:.0f} call-seconds in {lasted:.0f} s,"
        f" {answered} of {len(said) * 3 * calls} answers\n"
        f"  CPU {used / seconds * 1000:.2f} ms per call-second\n"
        f"  utterance said -> PlayAudio: p50 {quantile(text, 0.5) * 1000:.0f} ms,"
        f" p95 {quantile(text, 0.95) * 1000:.0f} ms\n"
        f"  caller silent -> answer heard: p50 {latencies[len(latencies) // 2]:.2f} s,"
        f" p95 {latencies[int(len(latencies) * 0.95)]:.2f} s\n"
        f"  stolen {share:.1%}",
        flush=True,
    )


async def fetch(reactor: Any, page: urllib.request.Request) -> str:
    from twisted.internet.threads import deferToThread

    def work() -> str:
        with urllib.request.urlopen(page) as answer:
            text: str = answer.read().decode()
            return text

    text: str = await deferToThread(work)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--updates", type=float, default=5.0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    react(lambda r: Deferred.fromCoroutine(run(r, options.calls, options.updates)))


if __name__ == "__main__":
    main()
