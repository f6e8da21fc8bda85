from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store.entries import Entry
from chime_gateway.store.writing import backlog as module
from chime_gateway.store.writing import journal as journal_module
from chime_gateway.store.writing.backlog import Backlog
from chime_gateway.store.writing.journal import Journal, write_all
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

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
    def test_each_entry_is_taken_once_and_in_order(
        self, comings: list[tuple[int, bool]]
    ) -> None:
        """The disk is full at times; the other thread works at any moment."""
        self.setUp()
        self.patch(journal_module, "CHUNK", 4)
        self.patch(module, "CHUNK", 3)
        added: list[Entry] = []
        taken: list[Entry] = []
        coming = iter(comings)

        def come() -> None:
            count, is_full = next(coming, (0, False))
            new: list[Entry] = [("a", {"n": len(added) + n}) for n in range(count)]
            added.extend(new)

            def write(file: Any, data: bytes) -> None:
                if is_full:
                    file.write(data[: len(data) // 2])
                    raise OSError(28, "No space left on device")
                write_all(file, data)

            self.patch(journal_module, "write_all", write)
            self.backlog.add(new, 1.0, 1.0)

        for _ in range(len(comings) + 2):
            come()
            for chunk in self.backlog.chunks():
                self.assertEqual(chunk.unreadable, [])
                taken.extend(chunk.entries)
                come()
                self.backlog.forget(chunk.upto)
                come()
            with self.backlog.held() as held:
                come()
                taken.extend(held)
        self.assertEqual(taken, added)
        self.assertFalse(self.backlog)

    def test_the_cost_of_a_full_disk_does_not_grow_with_the_backlog(self) -> None:
        tried: list[int] = []

        def full(entries: Any, *_: Any) -> None:
            tried.append(len(entries))
            raise OSError(28, "No space left on device")

        self.patch(self.journal, "append", full)
        for _ in range(20):
            self.backlog.add([("a", {})] * 200, 1.0, 1.0)
        self.assertEqual(self.backlog.in_memory, 4000)
        self.assertLessEqual(max(tried), 500)

    def test_entries_added_during_a_write_wait_behind_it(self) -> None:
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

    def test_entries_of_a_failed_write_are_kept(self) -> None:
        self.fill_the_disk()
        self.backlog.add([("a", {})], 1.0, 1.0)

        def fail() -> None:
            with self.backlog.held():
                raise KeyError

        self.assertRaises(KeyError, fail)
        with self.backlog.held() as held:
            self.assertEqual(held, [("a", {})])
        self.assertFalse(self.backlog)

    def test_memory_is_limited(self) -> None:
        self.patch(module, "MAX_HELD", 3)
        self.fill_the_disk()
        self.assertEqual(self.backlog.add([("a", {})] * 2, 1.0, 1.0), 0)
        self.assertEqual(self.backlog.add([("b", {})] * 2, 1.0, 1.0), 1)
        self.assertIn("No space", self.backlog.disk_fault)

    def test_an_entry_that_is_not_json_is_not_added(self) -> None:
        self.assertRaises(ValueError, self.backlog.add, [("a", {1})], 1.0, 1.0)
        self.assertFalse(self.backlog)
