from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.store.writing.journal import Journal
from tests.support.files import temporary_folder


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = temporary_folder(self) / "state" / "journal.jsonl"

    def journal(self) -> Journal:
        journal = Journal(self.path)
        self.addCleanup(journal.close)
        return journal

    def entries(self, journal: Journal) -> list[Any]:
        return [entry for chunk in journal.chunks() for entry in chunk.entries]

    def test_entries_survive_a_crash(self) -> None:
        first = self.journal()
        first.append([("opened", {"a": 1}), ("turn", {"b": "ü\n"})])
        first.close()
        expected = [("opened", {"a": 1}), ("turn", {"b": "ü\n"})]
        self.assertEqual(self.entries(self.journal()), expected)

    def test_a_line_truncated_by_a_crash_is_left_out(self) -> None:
        first = self.journal()
        first.append([("opened", {"a": 1}), ("turn", {"b": 2})])
        first.close()
        whole = self.path.read_bytes()
        start = whole.index(b"\n", whole.index(b'["opened"')) + 1
        for length in range(start, len(whole) - 1):
            self.path.write_bytes(whole[:length])
            journal = self.journal()
            journal.append([("new", {})])
            self.assertEqual(self.entries(journal), [("opened", {"a": 1}), ("new", {})])
            journal.close()

    def test_written_entries_are_forgotten_and_the_rest_stays(self) -> None:
        journal = self.journal()
        journal.append([("a", {}), ("b", {})])
        half = journal.size
        journal.append([("c", {})])
        journal.forget(half)
        self.assertEqual(self.entries(journal), [("c", {})])
        journal.append([("d", {})])
        self.assertEqual(self.entries(journal), [("c", {}), ("d", {})])
        journal.forget(journal.size)
        self.assertEqual((self.entries(journal), journal.size), ([], 0))

    def test_an_incomplete_line_does_not_damage_the_next_one(self) -> None:
        journal = self.journal()
        file = journal._file

        class Broken:
            """A file that accepts a part of a write, and cannot be truncated."""

            def write(self, data: bytes) -> int:
                file.write(bytes(data)[: len(data) // 2])
                raise OSError(5, "Input/output error")

            def truncate(self, size: int) -> None:
                raise OSError(5, "Input/output error")

            def fileno(self) -> int:
                return file.fileno()

        journal._file = Broken()  # type: ignore[assignment]
        self.assertRaises(OSError, journal.append, [("lost", {"a": 1})])
        journal._file = file
        journal.append([("a", {})])
        journal.append([("b", {})])
        taken: list[Any] = []
        for chunk in journal.chunks():
            taken += chunk.entries
            journal.forget(chunk.upto)
        self.assertEqual(taken, [("a", {}), ("b", {})])
        self.assertEqual((journal.waiting, self.path.stat().st_size), (0, 0))

    def test_two_gateways_of_one_name_are_an_error(self) -> None:
        self.journal()
        error = self.assertRaises(ConfigError, Journal, self.path)
        self.assertIn("CHIMEGW_INSTANCE", str(error))

    def test_a_folder_that_cannot_be_created_is_named(self) -> None:
        error = self.assertRaises(ConfigError, Journal, Path("/proc/no/journal"))
        self.assertIn("CHIMEGW_STATE", str(error))

    def test_a_full_disk_leaves_no_incomplete_line(self) -> None:
        journal = self.journal()
        journal.append([("a", {})])
        before = self.path.read_bytes()

        class Full:
            def __init__(self, file: Any) -> None:
                self.file = file

            def write(self, data: bytes) -> int:
                self.file.write(data[:3])
                self.file.flush()
                raise OSError(28, "No space left on device")

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

        journal._file = Full(journal._file)  # type: ignore[assignment]
        self.assertRaises(OSError, journal.append, [("b", {})])
        self.assertEqual(self.path.read_bytes(), before)
