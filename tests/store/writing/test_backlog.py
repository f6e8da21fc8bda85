from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store.writing import backlog as module
from chime_gateway.store.writing.backlog import Backlog
from chime_gateway.store.writing.journal import Journal
from tests.support.files import temporary_folder


class BacklogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.journal = Journal(temporary_folder(self) / "journal.jsonl")
        self.addCleanup(self.journal.close)
        self.backlog = Backlog(self.journal)

    def fill_the_disk(self) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        self.patch(self.journal, "append", full)

    def test_what_comes_while_others_are_on_their_way_stays_behind_them(self) -> None:
        real = self.journal.append
        self.fill_the_disk()
        self.backlog.add([("a", {})], 1.0, 1.0)
        self.patch(self.journal, "append", real)
        with self.backlog.held() as held:
            self.assertEqual(held, [("a", {})])
            self.backlog.add([("b", {})], 2.0, 2.0)
            self.assertEqual(self.journal.waiting, 0)
        self.assertEqual(self.backlog.oldest_at, 2.0)
        self.backlog.add([], 3.0, 3.0)
        (chunk,) = self.backlog.chunks()
        self.assertEqual(chunk.entries, [("b", {})])

    def test_what_does_not_arrive_is_not_forgotten(self) -> None:
        self.fill_the_disk()
        self.backlog.add([("a", {})], 1.0, 1.0)

        def fail() -> None:
            with self.backlog.held():
                raise KeyError

        self.assertRaises(KeyError, fail)
        with self.backlog.held() as held:
            self.assertEqual(held, [("a", {})])
        self.assertFalse(self.backlog)

    def test_memory_has_an_end(self) -> None:
        self.patch(module, "MAX_HELD", 3)
        self.fill_the_disk()
        self.assertEqual(self.backlog.add([("a", {})] * 2, 1.0, 1.0), 0)
        self.assertEqual(self.backlog.add([("b", {})] * 2, 1.0, 1.0), 1)
        self.assertIn("No space", self.backlog.disk_fault)

    def test_one_that_is_no_json_is_not_added(self) -> None:
        self.assertRaises(ValueError, self.backlog.add, [("a", {1})], 1.0, 1.0)
        self.assertFalse(self.backlog)
