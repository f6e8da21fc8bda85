from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.store.entries import OPENED, Entry
from chime_gateway.store.writing.aside import Aside
from chime_gateway.store.writing.journal import Held, Journal, journal_path
from chime_gateway.store.writing.journals import Journals
from tests.support.files import temporary_folder

#: A process that locks a file until it is told to end.
_HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a+b")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


#: The folder of the package, whatever the current folder is.
_ROOT = str(Path(__file__).parents[3])


def entry(number: int) -> Entry:
    return OPENED, {"call_id": str(number)}


class JournalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)

    def journals(self, generation: str) -> Journals:
        return Journals(self.folder, "me:8080", generation)

    def opened(self, generation: str, *, is_alone: bool = False) -> Journal:
        journals = self.journals(generation)
        journal = journals.open_own(is_alone=is_alone, now=0.0, wall_now=0.0)
        self.addCleanup(journal.close)
        return journal

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.jsonl"))

    def entries(self, journal: Journal) -> list[Any]:
        return [list(e) for chunk in journal.chunks() for e in chunk.entries]

    def test_running_processes_are_known_by_their_lock_alone(self) -> None:
        old, new = self.opened("old"), self.opened("new")
        journals = self.journals("new")
        self.assertEqual(journals.generations(), {"old", "new"})
        self.assertEqual(list(journals.left()), [])
        old.close()
        ((left, _),) = list(journals.left())
        left.remove()
        self.assertEqual(journals.generations(), {"new"})
        new.close()

    def test_a_killed_process_is_no_longer_running(self) -> None:
        journals = self.journals("new")
        path = journals.path("old")
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            self.assertEqual(list(journals.left()), [])
            # The pid is not checked: another process may get it at once.
            process.kill()
            process.wait()
            self.assertEqual(len(list(journals.left())), 1)

    def test_a_process_alone_continues_with_the_journal_of_the_previous_one(
        self,
    ) -> None:
        first = self.opened("a", is_alone=True)
        first.append([entry(1)])
        self.assertRaises(Held, self.opened, "b", is_alone=True)
        self.assertEqual(self.names(), ["journal-me-8080@a.jsonl"])
        first.close()
        journal = self.opened("b", is_alone=True)
        self.assertEqual(self.entries(journal), [list(entry(1))])
        self.assertEqual(self.names(), ["journal-me-8080@b.jsonl"])

    def test_a_successor_takes_over_a_journal_only_when_its_process_is_gone(
        self,
    ) -> None:
        old = self.opened("a", is_alone=True)
        old.append([entry(1)])
        new = self.opened("b")
        self.assertEqual(new.waiting, 0)
        old.close()
        ((left, _),) = list(self.journals("b").left())
        self.assertNotEqual(left.waiting, 0)

    def test_versions_without_generations_find_and_leave_their_journal(self) -> None:
        base = journal_path(self.folder, "me:8080")
        before = Journal(base)
        before.append([entry(1)])
        # While it runs, no other gateway of that name can start.
        self.assertRaises(Held, self.opened, "a", is_alone=True)
        before.close()
        journal = self.opened("a", is_alone=True)
        self.assertEqual(self.entries(journal), [list(entry(1))])
        self.assertFalse(base.exists())
        # If the database does not have all of it, it is used again.
        self.journals("a").leave(journal)
        self.assertEqual(self.names(), [base.name])
        again = Journal(base)
        self.assertEqual(self.entries(again), [list(entry(1))])
        again.close()

    def test_an_empty_journal_is_deleted(self) -> None:
        journal = self.opened("a", is_alone=True)
        self.journals("a").leave(journal)
        self.assertEqual(self.names(), [])

    def test_lines_set_aside_are_found_without_a_journal(self) -> None:
        aside = self.journals("a").own_aside()
        self.assertTrue(aside.add([b"[1]"]))
        left = [(j.waiting, a.lines()) for j, a in self.journals("b").left()]
        self.assertEqual(left, [(0, [b"[1]"])])
        # Files of other programs are ignored.
        self.assertIsInstance(aside, Aside)

    def test_only_one_of_two_processes_that_start_together_succeeds(self) -> None:
        command = (
            "import sys, time, pathlib;"
            "from chime_gateway.store.writing.journals import Journals;"
            "journals = Journals(pathlib.Path(sys.argv[1]), 'me', sys.argv[2]);"
            "journal = journals.open_own(is_alone=True, now=0.0, wall_now=0.0);"
            "print('begun', flush=True); sys.stdin.read()"
        )
        several = [
            subprocess.Popen(
                [sys.executable, "-c", command, str(self.folder), f"g{number}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": _ROOT},
            )
            for number in range(3)
        ]
        said = []
        for process in several:
            assert process.stdout is not None
            said.append(process.stdout.readline())
        for process in several:
            with process:
                process.kill()
        self.assertEqual(sorted(said), [b"", b"", b"begun\n"])

    def test_a_folder_that_cannot_be_used_is_named(self) -> None:
        (self.folder / "file").write_text("")
        journals = Journals(self.folder / "file", "me", "a")
        for is_alone in (True, False):
            with self.assertRaises(ConfigError) as caught:
                journals.open_own(is_alone=is_alone, now=0.0, wall_now=0.0)
            self.assertIn("CHIMEGW_STATE", str(caught.exception))

    def test_the_name_of_a_journal_names_its_instance(self) -> None:
        path = self.journals("bcdfgh").path("bcdfgh")
        self.assertEqual(path.name, "journal-me-8080@bcdfgh.jsonl")
        # A gateway whose name has the same beginning is another one.
        other = Journals(self.folder, "me:8080.x", "a")
        self.addCleanup(other.open_own(is_alone=True, now=0.0, wall_now=0.0).close)
        self.assertEqual(self.journals("b").generations(), {"b"})
