"""
Is anything lost after a crash or without the database?

C{crash}: kill -9 in the middle of many calls; afterwards each call must have one record
and a playable recording.  C{database}: PostgreSQL is stopped for a minute while calls
come and go; afterwards each call must have its record, and each webhook must have been
delivered.  The suite counts calls that heard nothing, records, recordings and webhooks.

    make long SUITES=kept
    make kept KEPT="crash --calls 50"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from load import Load, posted, start_service
from server import free_port, server_env, wait_for

from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import CallRow

#: The counts, and whether they are right.
Counted = tuple[dict[str, int], bool]

#: The duration of each call before the gateway is killed, and how much of its recording
#: may be missing: the end, and for the last calls the start.
TALK_SECONDS = 6.0
MISSING_SECONDS = 1.5


class Receiver:
    """Receives webhooks."""

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
    """A gateway that is started, killed and started again."""

    def __init__(self, agent_port: int, hook_port: int, database_url: str = "") -> None:
        self.state = Path(tempfile.mkdtemp(prefix="chimegw-kept-"))
        self.port = free_port()
        config = self.state / "gateway.toml"
        config.write_text(
            f"[limits]\nmax_calls = 2000\nmax_cpu = 8\nmax_late_seconds = 8\n"
            f"[webhooks.crm]\n"
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


async def crash(calls: int) -> Counted:
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
        await asyncio.sleep(TALK_SECONDS)
        process.send_signal(signal.SIGKILL)
        process.wait()
        await asyncio.sleep(0.5)
        process = gateway.start()
        for _ in range(200):
            await asyncio.sleep(0.1)
            rows = gateway.rows(outcome="gateway_lost")
            if len(rows) == calls and len(receiver.ended()) == calls:
                break
        rows = gateway.rows(outcome="gateway_lost")
        seconds = sorted(length(row.recording) for row in rows)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.close()
        hooks.close()
    told = len(set(receiver.ended()))
    shortest = seconds[0] if seconds else 0.0
    print(
        f"kill -9 in the middle of {calls} calls: {len(rows)} records,"
        f" {len(seconds)} playable recordings, the shortest {shortest:.1f} s of about"
        f" {TALK_SECONDS:.0f} s; {told} webhooks call.ended"
    )
    counts = {
        "calls": calls,
        "records": len(rows),
        "recordings": sum(s > TALK_SECONDS - MISSING_SECONDS for s in seconds),
        "webhooks": told,
    }
    return counts, set(counts.values()) == {calls}


def length(path: str) -> float:
    """Read a recording, and return its duration in seconds."""
    with wave.open(path, "rb") as file:
        frames = file.readframes(file.getnframes())
        return len(frames) / 4 / file.getframerate()


async def database(away_seconds: float) -> Counted:
    from tests.support.postgres import Postgres

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
    placed = lost = 0
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
            lost += sum(not caller.received for caller in load.callers)
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
        f"PostgreSQL stopped for {away_seconds:g} s under load: {placed} calls placed,"
        f" {len(rows)} records, {len(set(ended))} webhooks call.ended"
        f" ({len(ended) - len(set(ended))} delivered twice)"
    )
    counts = {
        "calls": placed,
        "lost": lost,
        "records": len(rows),
        "webhooks": len(set(ended)),
    }
    return counts, len(rows) == placed == len(set(ended)) and not lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument(
        "what", nargs="?", choices=("all", "crash", "database"), default="all"
    )
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--calls", type=int, help="number of calls that are killed")
    parser.add_argument("--seconds", type=float, help="time without the database")
    options = parser.parse_args()
    calls = options.calls or (20 if options.short else 50)
    seconds = options.seconds or (10.0 if options.short else 60.0)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    good = True
    counts: Counter[str] = Counter()
    if options.what in ("all", "crash"):
        counted, is_good = uvloop.run(crash(calls))
        counts.update(counted)
        good &= is_good
    if options.what in ("all", "database"):
        counted, is_good = uvloop.run(database(seconds))
        counts.update(counted)
        good &= is_good
    print(json.dumps(counts))
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
