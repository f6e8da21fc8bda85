"""Faults of the peers that a gateway writes to: its database, webhook receivers."""

from __future__ import annotations

import asyncio
import os

from suites.faults.machine import with_echoes
from suites.faults.processes import Receiver, until
from suites.faults.scene import Scene

#: The permitted growth of the number of threads; each receiver has four connections.
MOST_THREADS = 8


async def database_frozen(scene: Scene) -> None:
    """PostgreSQL accepts connections and answers nothing."""
    from tests.support.postgres import Postgres

    server = await asyncio.to_thread(Postgres)
    scene.others.append(server)
    gateway = await with_echoes(
        scene, "frozen", CHIMEGW_DATABASE_URL=server.new_database()
    )

    async def says_ok() -> bool:
        _, health = await gateway.health()
        return health.get("store") == "ok"

    async def says_away() -> bool:
        return not await says_ok()

    scene.expect(await until(says_ok, 10.0), "the store is not ok at the start")
    lines = await scene.call(gateway, 8)
    await scene.answered(lines, "calls before")
    for _ in range(1 if scene.is_short else 3):
        server.freeze()
        more = await scene.call(gateway, 8)
        await scene.answered(more, "calls with a frozen database")
        await scene.hang_up(more)
        scene.expect(await until(says_away, 20.0), "a frozen database is reported ok")
        await scene.go_on(lines, "old calls with a frozen database")
        scene.expect(await gateway.is_ready(), "not ready although records are kept")
        server.thaw()
        scene.expect(await until(says_ok, 40.0), "the store does not recover")
    await scene.hush(lines)
    await scene.hang_up()
    await until(lambda: len(gateway.rows()) >= scene.counts["calls"], 30.0, 0.5)
    records = len(gateway.rows())
    scene.counts["records"] += records
    scene.expect(
        records == scene.counts["calls"],
        f"{records} of {scene.counts['calls']} records",
    )
    # A gateway that is stopped meanwhile does not wait, and keeps the records.
    last = await scene.call(gateway, 6)
    await scene.answered(last, "calls at the end")
    server.freeze()
    await scene.finish(gateway)
    server.thaw()
    journal = sum(
        len(file.read_bytes()) for file in gateway.state.glob("journal-*.jsonl")
    )
    scene.expect(journal, "the calls during the freeze are not in the journal")


async def receiver_stuck(scene: Scene) -> None:
    """One receiver never answers; the other one has to get all events."""
    stuck = await scene.run(Receiver(is_stuck=True))
    well = await scene.run(Receiver())
    hooks = "".join(
        f"[webhooks.{name}]\nurl = '{receiver.url}'\n"
        for name, receiver in (("a_stuck", stuck), ("well", well))
    )
    gateway = await with_echoes(scene, "stuck", settings=hooks)
    lines = await scene.call(gateway, 8)
    await scene.answered(lines, "calls before")
    threads = len(os.listdir(f"/proc/{gateway.process.pid}/task"))
    for _ in range(3 if scene.is_short else 20):
        more = await scene.call(gateway, 10, 0.5)
        await scene.answered(more, "calls with a stuck receiver")
        await scene.hang_up(more)
    over = scene.counts["calls"] - len(lines)
    await until(lambda: len(well.ended) >= over, 20.0)
    scene.counts["ends told"] += len(well.ended)
    scene.expect(
        len(well.ended) == over,
        f"the good receiver got {len(well.ended)} of {over} ends",
    )
    scene.expect(stuck.asked, "the stuck receiver got no request")
    grown = len(os.listdir(f"/proc/{gateway.process.pid}/task")) - threads
    scene.expect(grown <= MOST_THREADS, f"{grown} more threads")
    await scene.go_on(lines, "old calls with a stuck receiver")
    await scene.hush(lines)
    await scene.finish(gateway)
