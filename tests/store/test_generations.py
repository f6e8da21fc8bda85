"""
Processes of one gateway side by side, which start, end and are killed at any moment: to
which process calls belong, which calls are lost, and which process reports that.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.settings.values import StoreSettings, WebhookSettings
from chime_gateway.store.call_book import GATEWAY_LOST
from chime_gateway.store.entries import CLOSED, DELIVERY, OPENED, Entry
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.store import Store
from chime_gateway.store.tables import DELIVERIES
from tests.store.test_numbers import RECORD
from tests.store.webhooks.test_webhooks import Post
from tests.support import postgres
from tests.support.entries import closed, delivery, opened
from tests.support.files import temporary_folder

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("begin", "begin", "end", "end", "turn", "turn", "turn"),
                *("successor", "successor", "stop", "kill", "away", "back"),
            ]
        ),
        st.integers(0, 5),
    ),
    max_size=40,
)


class Process:
    """
    One process; its threads do not run: the test runs their work.

    @ivar calls: its calls in progress.
    """

    def __init__(self, scene: Scene, generation: str, *, is_alone: bool) -> None:
        post: Any = Post()
        self.generation = generation
        self.calls: list[str] = []
        self.is_away = False
        self.store = Store(
            StoreSettings(
                database_url=scene.url,
                state_directory=str(scene.folder),
                instance="me",
            ),
            [WebhookSettings(name="crm", url="https://x")],
            post=post,
            in_thread=lambda function, *args: maybeDeferred(function, *args),
            in_reactor=lambda *_: None,
            clock=Clock(),
            wall_time=lambda: 1000.0,
            jitter=lambda: 0.5,
            generation=generation,
            is_alone=is_alone,
        )
        database = self.store.database
        check, migrate = database.check, database.migrate
        transaction: Any = database._transaction

        def or_away(function: Any) -> Any:
            def run(**more: Any) -> Any:
                if self.is_away:
                    raise OperationalError("connect", {}, ConnectionError("away"))
                return function(**more)

            return run

        database.check = or_away(check)  # type: ignore[method-assign]
        database.migrate = or_away(migrate)  # type: ignore[method-assign]
        database._transaction = or_away(transaction)  # type: ignore[method-assign]

    def put(self, *entries: Entry) -> None:
        for entry in entries:
            self.store.writer.put(entry)

    def turn(self) -> None:
        writer = self.store.writer
        while writer.worker.waiting:
            writer.worker._guarded(writer.worker._work, writer.worker._next())
        applying = writer._applying
        applying._retry_at = applying._upkeep_at = 0.0
        for _ in range(20):  # each time some old rows are deleted
            applying.worker._guarded(applying._work, [])
            if applying._upkeep_at or not applying.is_open:
                break

    def stop(self) -> None:
        self.turn()
        self.store.journals.leave(self.store.journal)
        self.store.database.close()

    def kill(self) -> None:
        # Entries that were put before are on the disk.
        writer = self.store.writer
        while writer.worker.waiting:
            writer.worker._guarded(writer.worker._work, writer.worker._next())
        self.store.journal.close()
        self.store.database.close()


class Scene:
    """
    The processes, and the expected results.

    @ivar ended: calls that a process has ended.
    @ivar lost: calls whose process is gone.
    """

    def __init__(self, test: SynchronousTestCase, url: str, folder: Path) -> None:
        self.test = test
        self.url = url
        self.folder = folder
        self.count = 0
        self.ended: set[str] = set()
        self.lost: set[str] = set()
        self.processes: list[Process] = []
        self.successor(is_alone=True)

    def successor(self, *, is_alone: bool = False) -> None:
        if len(self.processes) < 4:
            self.count += 1
            process = Process(self, f"gen{self.count}", is_alone=is_alone)
            self.processes.append(process)
            process.turn()

    def step(self, name: str, number: int) -> None:
        process = self.processes[number % len(self.processes)]
        match name:
            case "begin":
                self.count += 1
                call_id = f"c{self.count}"
                process.calls.append(call_id)
                generation = process.generation
                record = {**RECORD, "call_id": call_id, "started_at": 10.0}
                row = opened(call_id, 10.0, generation=generation, record=record)
                told = delivery(call_id, 1, generation=generation)
                process.put((OPENED, row), (DELIVERY, told))
            case "end" if process.calls:
                call_id = process.calls.pop(0)
                self.ended.add(call_id)
                generation = process.generation
                row = closed(call_id, 10.0, generation=generation, turns=[])
                told = delivery(call_id, 2, generation=generation)
                process.put((CLOSED, row), (DELIVERY, told))
            case "turn":
                process.turn()
            case "successor":
                self.successor()
            case "stop" if len(self.processes) > 1 and not process.calls:
                self.processes.remove(process)
                process.stop()
            case "kill":
                self.processes.remove(process)
                self.lost.update(process.calls)
                process.kill()
                if not self.processes:
                    self.successor(is_alone=True)
            case "away" | "back":
                process.is_away = name == "away"

    def rows(self) -> dict[str, Any]:
        found = self.processes[0].store.database.calls(CallQuery(limit=1000))
        return {row.call_id: row for row in found}

    def deliveries(self) -> list[Any]:
        with self.processes[0].store.database._engine.connect() as connection:
            return list(connection.execute(select(DELIVERIES)))

    def check(self) -> None:
        """Check what is always true."""
        for call_id, row in self.rows().items():
            if row.outcome == GATEWAY_LOST:
                self.test.assertIn(call_id, self.lost)

    def check_end(self) -> None:
        """Check what is true once only the last process is left, with its work done."""
        for process in self.processes:
            process.is_away = False
        while len(self.processes) > 1:
            process = self.processes.pop(0)
            self.lost.update(process.calls)
            process.kill()
        (last,) = self.processes
        for _ in range(3):
            last.turn()
        rows, test = self.rows(), self.test
        test.assertEqual(set(rows), self.ended | self.lost | set(last.calls))
        for call_id, row in rows.items():
            outcome = "completed" if call_id in self.ended else None
            outcome = GATEWAY_LOST if call_id in self.lost else outcome
            test.assertEqual(row.outcome, outcome, call_id)
        ends = Counter(row.call_id for row in self.deliveries() if row.number != 1)
        test.assertEqual(ends, Counter(self.ended | self.lost))
        for row in self.deliveries():
            test.assertEqual(row.generation, last.generation)
            if row.number > 2:
                outcome = json.loads(row.body)["data"]["outcome"]
                test.assertEqual(outcome, GATEWAY_LOST)
        left = sorted(path.name for path in self.folder.glob("journal-*.jsonl"))
        test.assertEqual(left, [f"journal-me@{last.generation}.jsonl"])

    def close(self) -> None:
        for process in self.processes:
            process.kill()


class _Tests(SynchronousTestCase):
    def url(self, folder: Path) -> str:
        raise NotImplementedError

    def run_scene(self, steps: list[tuple[str, int]]) -> None:
        folder = temporary_folder(self)
        scene = Scene(self, self.url(folder), folder)
        try:
            for name, number in steps:
                scene.step(name, number)
                scene.check()
            scene.check_end()
        finally:
            scene.close()
        self.flushLoggedErrors()

    def test_a_process_that_ends_during_a_sweep_loses_nothing(
        self,
    ) -> None:
        folder = temporary_folder(self)
        scene = Scene(self, self.url(folder), folder)
        scene.step("begin", 0)
        scene.step("turn", 0)
        scene.successor()
        old, new = scene.processes
        look, their = new.store.database.unclosed_calls, scene.step

        def while_it_ends(*arguments: Any) -> Any:
            found = look(*arguments)
            if len(scene.processes) > 1:
                their("end", 0)
                their("stop", 0)
            return found

        self.patch(new.store.database, "unclosed_calls", while_it_ends)
        new.turn()
        self.assertEqual(scene.processes, [new])
        scene.check()
        scene.check_end()
        self.assertEqual(old.calls, [])
        scene.close()

    def test_a_second_gateway_of_the_same_name_is_refused_but_a_successor_is_not(
        self,
    ) -> None:
        folder = temporary_folder(self)
        scene = Scene(self, self.url(folder), folder)
        for _ in range(2):
            with self.assertRaises(ConfigError) as caught:
                Process(scene, "other", is_alone=True)
            self.assertIn("CHIMEGW_INSTANCE", str(caught.exception))
            scene.successor()
        # Even when the first process has ended, a second gateway is refused.
        scene.step("kill", 0)
        self.assertRaises(ConfigError, Process, scene, "other", is_alone=True)
        scene.check_end()
        scene.close()


#: Without shrinking: failing scenes are short enough, and each step takes a while.
_PHASES = (Phase.explicit, Phase.generate)


class SqliteTests(_Tests):
    def url(self, folder: Path) -> str:
        return f"sqlite:///{folder}/calls.sqlite"

    @settings(max_examples=15, deadline=None, phases=_PHASES)
    @given(STEPS)
    def test_calls_are_lost_exactly_when_their_process_is_gone(
        self, steps: list[tuple[str, int]]
    ) -> None:
        self.run_scene(steps)


class PostgresTests(_Tests):
    if postgres.MISSING:
        skip = postgres.MISSING

    def url(self, folder: Path) -> str:
        return postgres.server().new_database()

    @settings(max_examples=6, deadline=None, phases=_PHASES)
    @given(STEPS)
    def test_calls_are_lost_exactly_when_their_process_is_gone(
        self, steps: list[tuple[str, int]]
    ) -> None:
        self.run_scene(steps)


del _Tests
