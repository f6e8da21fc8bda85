"""Writing entries to a database with every kind of fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.store.entries import OPENED, TURN, Entry
from chime_gateway.store.schema import WrongSchema
from chime_gateway.store.writing.journals import Journals
from chime_gateway.store.writing.writer import LATE_SECONDS, Writer
from tests.support.files import temporary_folder

#: States other than "ok".
FAULTS = ("away", "frozen", "newer", "read-only", "slow")


class Faulty:
    """
    A database that a schedule makes fail.

    @ivar state: one of L{FAULTS}, or C{"ok"}.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.state = "ok"
        self.numbers: list[int] = []
        self.known = {OPENED, TURN}

    def migrate(self, **_: bool) -> None:
        self.check()

    def check(self) -> None:
        if self.state == "frozen":
            self.clock.advance(5.0)
            raise OperationalError("select", {}, ConnectionError("no answer"))
        if self.state == "away":
            raise OperationalError("connect", {}, ConnectionError("refused"))
        if self.state == "newer":
            raise WrongSchema("the schema is 0009, this program knows 0001")

    def apply(self, entries: Any) -> None:
        self.check()
        if self.state == "slow":
            self.clock.advance(0.5)
        if self.state == "read-only":
            raise OperationalError("insert", {}, ValueError("read-only database"))
        found = []
        for kind, values in entries:
            if kind not in self.known:
                raise KeyError(kind)
            if values.get("is_bad"):
                raise IntegrityError("insert", {}, ValueError("refused"))
            if values.get("is_odd"):
                raise ProgrammingError("insert", {}, ValueError("type 'dict'"))
            found.append(values["number"])
        self.numbers += found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 7)),
        st.tuples(st.just("put one of"), st.sampled_from(("bad", "odd", "unknown"))),
        st.tuples(st.just("state"), st.sampled_from(("ok", *FAULTS))),
        st.tuples(st.just("wait"), st.sampled_from((0.1, 1.0, 7.0, 400.0))),
        st.tuples(st.just("disk"), st.booleans()),
        st.tuples(st.just("crash"), st.sampled_from((b"", b"[1", b"\0\xff", b"[]\n"))),
    ),
    max_size=30,
)


class FaultTests(SynchronousTestCase):
    """The threads do not run: the test runs their work."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.patch(time, "monotonic", self.clock.seconds)

    def begin(self) -> None:
        self.folder = temporary_folder(self)
        self.database = Faulty(self.clock)
        self.put_at: dict[int, float] = {}
        self.count = 0
        self.is_disk_full = False
        self.runs = 0
        self.restarted()

    def restarted(self) -> None:
        self.runs += 1
        journals = Journals(self.folder, "me", f"run{self.runs}")
        now = self.clock.seconds()
        self.journal = journals.open_own(is_alone=True, now=now, wall_now=now)
        self.addCleanup(self.journal.close)
        real = self.journal.append

        def append(*arguments: Any) -> None:
            if self.is_disk_full:
                raise OSError(28, "No space left on device")
            real(*arguments)

        self.journal.append = append  # type: ignore[method-assign, assignment]
        database: Any = self.database
        self.writer = Writer(
            database,
            self.journal,
            journals,
            wall_time=self.clock.seconds,
        )

    def turn(self) -> None:
        worker = self.writer.worker
        while worker.waiting:
            worker._guarded(worker._work, worker._next())
        worker._guarded(worker._work, [])
        applying = self.writer._applying.worker
        applying._guarded(applying._work, [])

    def put(self, kind: str = TURN, **values: Any) -> None:
        self.count += 1
        if not values and kind == TURN:
            self.put_at[self.count] = self.clock.seconds()
        self.writer.put((kind, {"number": self.count, **values}))

    def step(self, name: str, value: Any) -> None:
        match name, value:
            case "put", count:
                for _ in range(count):
                    self.put()
            case "put one of", "bad":
                self.put(is_bad=True)
            case "put one of", "odd":
                self.put(is_odd=True)
            case "put one of", _:
                self.put("of a newer program")
            case "state", state:
                self.database.state = state
            case "wait", seconds:
                self.clock.advance(seconds)
            case "disk", is_full:
                self.is_disk_full = is_full
            case "crash", piece:
                self.is_disk_full = False
                self.turn()  # entries in memory are written to the disk
                self.journal.close()
                with self.journal._path.open("ab") as file:
                    file.write(piece)
                self.restarted()

    def check_oldest(self) -> None:
        written = set(self.database.numbers)
        waiting = [at for n, at in self.put_at.items() if n not in written]
        age = self.clock.seconds() - min(waiting) if waiting else 0.0
        said = self.writer.oldest_seconds
        # Entries that cannot be written, and invalid lines, may be older than these.
        self.assertGreaterEqual(round(said, 3), round(age, 3))
        if age > LATE_SECONDS:
            self.assertNotEqual(self.writer.fault, "")

    def flush(self) -> None:
        self.flushLoggedErrors()

    @settings(max_examples=150, deadline=None)
    @given(STEPS)
    def test_each_entry_is_written_once_in_order_whatever_happens(
        self, steps: list[tuple[str, Any]]
    ) -> None:
        self.begin()
        for name, value in steps:
            self.step(name, value)
            self.turn()
            self.check_oldest()
        self.database.state, self.is_disk_full = "ok", False
        for _ in range(3):
            self.clock.advance(20.0)
            self.turn()
        self.assertEqual(self.database.numbers, list(self.put_at), repr(steps))
        self.assertEqual(self.writer.counts["lost"], 0)
        self.assertEqual(self.writer.oldest_seconds, 0.0)
        self.assertEqual(self.writer.fault, "")
        self.assertEqual(self.writer.backlog_bytes, 0)
        self.flush()
        self.journal.close()

    def put_all_and_settle(self, entries: list[Callable[[], None]]) -> None:
        for entry in entries:
            entry()
        self.turn()

    def test_entries_unknown_to_an_older_version_are_written_by_a_newer_one(
        self,
    ) -> None:
        self.begin()
        self.put_all_and_settle([self.put, lambda: self.put("new kind"), self.put])
        self.assertEqual(self.database.numbers, [1, 3])
        (aside,) = self.folder.glob("*.aside.jsonl")
        self.assertEqual(aside.stat().st_mode & 0o077, 0)
        self.step("crash", b"")
        self.turn()
        self.assertEqual(self.database.numbers, [1, 3])
        self.database.known.add("new kind")
        self.step("crash", b"")
        self.turn()
        self.assertEqual(self.database.numbers, [1, 3, 2])
        self.assertEqual(list(self.folder.glob("*.aside.jsonl")), [])
        self.flush()

    def test_a_foreign_schema_is_distinguished_from_an_unavailable_database(
        self,
    ) -> None:
        self.begin()
        for state, is_foreign in (("away", False), ("newer", True), ("ok", False)):
            self.database.state = state
            self.clock.advance(20.0)
            self.turn()
            self.assertEqual(self.writer.is_foreign, is_foreign)
        self.assertTrue(self.writer.is_open)

    def test_an_unused_database_is_checked_regularly(self) -> None:
        self.begin()
        self.turn()
        self.assertEqual(self.writer.fault, "")
        self.database.state = "away"
        self.clock.advance(6.0)
        self.turn()
        self.assertIn("refused", self.writer.fault)

    def test_an_entry_waiting_for_the_journal_counts_as_waiting(self) -> None:
        self.begin()
        entry: Entry = (TURN, {"number": 1})
        self.writer.put(entry)
        self.clock.advance(9.0)
        self.assertEqual(self.writer.oldest_seconds, 9.0)
        self.assertIn("9 s", self.writer.fault)
