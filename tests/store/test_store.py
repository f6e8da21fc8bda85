"""The store as a whole: after a start, after a while, after a year."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.settings.values import StoreSettings, WebhookSettings
from chime_gateway.store.entries import CLOSED, OPENED, TURN
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.recordings.files import RecordingWriter
from chime_gateway.store.store import Store
from tests.store.test_numbers import RECORD
from tests.store.webhooks.test_webhooks import Post
from tests.support.entries import closed, opened, turn
from tests.support.files import temporary_folder


class StoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        self.now = 100_000.0
        self.in_reactor: list[Any] = []
        self.recordings = RecordingWriter(
            self.folder / "recordings", lambda name: f"rec/{name}"
        )

    def store(self, **settings: Any) -> Store:
        post: Any = Post()
        store = Store(
            StoreSettings(
                **{
                    "database_url": f"sqlite:///{self.folder}/calls.sqlite",
                    "state_directory": str(self.folder),
                    "instance": "me",
                    **settings,
                }
            ),
            [WebhookSettings(name="crm", url="https://x")],
            post=post,
            in_thread=lambda function, *args: maybeDeferred(function, *args),
            in_reactor=self.in_reactor.append,
            clock=Clock(),
            wall_time=lambda: self.now,
            jitter=lambda: 0.5,
            generation="now",
            recordings=self.recordings,
        )
        self.addCleanup(store.journal.close)
        self.addCleanup(store.database.close)
        store.database.migrate()
        return store

    def lost(self, call_id: str, started_at: float) -> dict[str, Any]:
        record = {**RECORD, "call_id": call_id, "started_at": started_at}
        return opened(call_id, started_at, record=record)

    def test_a_start_closes_calls_that_an_earlier_run_left_open(self) -> None:
        store = self.store()
        spoken = {**turn("a", 1, "Hello"), "started": 2.0}
        spoken["turn"] = {**spoken["turn"], "started": 2.0, "ended": 7.5}
        store.database.apply([(OPENED, self.lost("a", 99_000.0)), (TURN, spoken)])
        for _ in range(2):  # the second time nothing is left to do
            store._sweep()
        (row,) = store.calls(CallQuery())
        self.assertEqual((row.state, row.outcome), ("ended", "gateway_lost"))
        self.assertEqual(row.duration_seconds, 7.5)
        due = store.database.due_deliveries(store.whose, {"crm": 10})["crm"]
        (delivery,) = due
        body = json.loads(delivery.body)
        self.assertEqual(body["type"], "call.ended")
        self.assertEqual(body["data"]["outcome"], "gateway_lost")
        self.assertEqual(len(body["data"]["transcript"]), 1)

    def test_the_end_of_a_lost_call_is_delivered_at_once(self) -> None:
        store = self.store()
        store.database.apply([(OPENED, self.lost("a", 99_000.0))])
        store._sweep()
        self.assertEqual(self.in_reactor, [store.webhooks.wake])
        store._sweep()
        self.assertEqual(len(self.in_reactor), 1)

    def test_calls_of_this_run_are_left_alone(self) -> None:
        store = self.store()
        store.database.apply([(OPENED, {**self.lost("a", 1.0), "generation": "now"})])
        self.now += 5_000
        store._keep_up()
        (row,) = store.calls(CallQuery())
        self.assertEqual(row.state, "live")

    def test_a_late_end_replaces_that_of_a_lost_call(self) -> None:
        store = self.store()
        store.database.apply([(OPENED, self.lost("a", 99_000.0))])
        store._sweep()
        store.database.apply([(CLOSED, closed("a", 99_000.0, turns=[]))])
        (row,) = store.calls(CallQuery())
        self.assertEqual(row.outcome, "completed")

    def test_old_calls_are_deleted_with_their_recordings(self) -> None:
        store = self.store(retention_days=1)
        paths = []
        for name, started_at in (("old", 0.0), ("new", 99_000.0)):
            path = self.folder / "recordings" / "day" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"RIFF")
            paths.append(path)
            row = closed(name, started_at, recording=f"rec/day/{name}.wav")
            store.database.apply([(CLOSED, row)])
        store._keep_up()
        self.assertEqual([p.exists() for p in paths], [False, True])
        self.assertEqual([r.call_id for r in store.calls(CallQuery())], ["new"])

    def test_without_a_retention_all_is_kept(self) -> None:
        store = self.store(retention_days=0)
        store.database.apply([(CLOSED, closed("old", 0.0))])
        store._keep_up()
        self.assertEqual(len(store.calls(CallQuery())), 1)

    def test_an_invalid_database_url_leaves_the_journal_unlocked(self) -> None:
        from chime_gateway.errors import ConfigError

        self.assertRaises(ConfigError, self.store, database_url="nonsense")
        self.assertIsNotNone(self.store())


class PathTests(SynchronousTestCase):
    def test_the_state_folder_is_created(self) -> None:
        folder = temporary_folder(self) / "a" / "b"
        from chime_gateway.store.writing.journal import Journal

        journal = Journal(Path(folder) / "journal.jsonl")
        journal.close()
        self.assertTrue(folder.exists())
