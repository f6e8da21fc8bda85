"""
Is anything lost?

C{crash}: kill -9 in the middle of many calls; afterwards each has one record, and a
recording that plays.  C{database}: PostgreSQL is stopped for a minute while calls
come and go; afterwards each has its record, and each webhook was delivered.
Bounded in count and time; both end by themselves.

    make bench-kept
    make bench-kept BENCH="crash --calls 50"
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
import wave
from pathlib import Path
from typing import Any

import uvloop
from load import Load, posted, start_service
from run import ROOT, free_port, server_env, wait_for

from chime_gateway.store.database import CallQuery, Database
from chime_gateway.store.table_rows import CallRow

sys.path.insert(0, str(ROOT))


class Receiver:
    """Takes webhooks."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: Any) -> None:
        try:
            while True:
                self.taken.append(await posted(reader))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()

    def ended(self) -> list[str]:
        return [h["call_id"] for h in self.taken if h["type"] == "call.ended"]


class Gateway:
    """One that is started, killed and started again."""

    def __init__(self, agent_port: int, hook_port: int, database_url: str = "") -> None:
        self.state = Path(tempfile.mkdtemp(prefix="chimegw-kept-"))
        self.port = free_port()
        config = self.state / "gateway.toml"
        config.write_text(
            f"[limits]\nmax_calls = 2000\n[webhooks.crm]\n"
            f"url = 'http://127.0.0.1:{hook_port}/'\n"
        )
        self.env = {
            **server_env(agent_port, free_port()),
            "CHIMEGW_STATE": str(self.state),
            "CHIMEGW_RECORDINGS": str(self.state / "recordings"),
            "CHIMEGW_INSTANCE": "bench",
        }
        self.url = f"sqlite:///{self.state}/chimegw.sqlite"
        if database_url:
            self.url = self.env["CHIMEGW_DATABASE_URL"] = database_url
        self.command = [
            *("taskset", "-c", "0", sys.executable, "-m", "twisted", "chimegw"),
            *("--port", str(self.port), "--insecure", "--config", str(config)),
        ]

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command, env=self.env, stdout=subprocess.DEVNULL
        )
        wait_for(self.port)
        return process

    def rows(self, **query: Any) -> list[CallRow]:
        database = Database(self.url, self.state)
        try:
            return database.calls(CallQuery(limit=100_000, **query))
        finally:
            database.close()


async def crash(calls: int) -> bool:
    service = await start_service()
    receiver = Receiver()
    hooks = await asyncio.start_server(receiver, "127.0.0.1", 0)
    gateway = Gateway(
        service.sockets[0].getsockname()[1], hooks.sockets[0].getsockname()[1]
    )
    process = gateway.start()
    try:
        load = Load(f"ws://127.0.0.1:{gateway.port}/stream")
        await load.start(calls)
        await asyncio.sleep(6.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        await asyncio.sleep(0.5)
        process = gateway.start()
        for _ in range(200):
            await asyncio.sleep(0.1)
            rows = gateway.rows(outcome="gateway_lost")
            if len(rows) == calls and len(receiver.ended()) == calls:
                break
        seconds = sorted(length(row.recording) for row in gateway.rows())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.close()
        hooks.close()
    print(
        f"kill -9 in the middle of {calls} calls: {len(gateway.rows())} records,"
        f" {len(rows)} of them gateway_lost; {len(seconds)} recordings that play,"
        f" {seconds[0]:.1f} to {seconds[-1]:.1f} s long of some 6 s;"
        f" {len(set(receiver.ended()))} webhooks call.ended"
    )
    return len(gateway.rows()) == len(rows) == calls and seconds[0] > 4.5


def length(path: str) -> float:
    """Of a recording that plays, in seconds."""
    with wave.open(path, "rb") as file:
        frames = file.readframes(file.getnframes())
        return len(frames) / 4 / file.getframerate()


async def database(away_seconds: float) -> bool:
    from tests.postgres import Postgres

    service = await start_service()
    receiver = Receiver()
    hooks = await asyncio.start_server(receiver, "127.0.0.1", 0)
    server = Postgres()
    gateway = Gateway(
        service.sockets[0].getsockname()[1],
        hooks.sockets[0].getsockname()[1],
        server.new_database(),
    )
    process = gateway.start()
    placed = 0
    try:
        began = time.monotonic()
        is_away = False
        while (passed := time.monotonic() - began) < away_seconds + 20:
            if not is_away and 10 <= passed < 10 + away_seconds:
                is_away = True
                server.stop()
            elif is_away and passed >= 10 + away_seconds:
                is_away = False
                server.start()
            load = Load(f"ws://127.0.0.1:{gateway.port}/stream")
            await load.start(10)
            placed += 10
            await asyncio.sleep(1.0)
            assert all(caller.received for caller in load.callers), "a call was lost"
            await load.stop()
        for _ in range(300):
            await asyncio.sleep(0.2)
            rows = gateway.rows(state="ended")
            if len(rows) == placed and len(set(receiver.ended())) == placed:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        server.close()
        service.close()
        hooks.close()
    ended = receiver.ended()
    print(
        f"PostgreSQL away for {away_seconds:g} s under load: {placed} calls placed,"
        f" {len(rows)} records, {len(set(ended))} webhooks call.ended"
        f" ({len(ended) - len(set(ended))} delivered twice)"
    )
    return len(rows) == placed == len(set(ended))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument(
        "what", nargs="?", choices=("all", "crash", "database"), default="all"
    )
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    good = True
    if options.what in ("all", "crash"):
        good &= uvloop.run(crash(options.calls))
    if options.what in ("all", "database"):
        good &= uvloop.run(database(options.seconds))
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
