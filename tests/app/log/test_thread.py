from __future__ import annotations

import fcntl
import os
import threading
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.log.thread import LogThread, QueuedOutput, RawOutput

#: Put lines, let the reader read lines, make writes fail.
_STEPS = st.lists(
    st.tuples(st.sampled_from(("give", "take", "fail")), st.integers(1, 12)),
    max_size=20,
)


class Reader:
    """
    A reader that reads lines only when told to, and can refuse some.

    @ivar taken: the numbers of lines, and reports of missing lines.
    """

    def __init__(self) -> None:
        self.taken: list[int | str] = []
        self.lost = 0
        self._may_take = threading.Semaphore(0)
        self._has_taken = threading.Semaphore(0)
        self._refused = 0

    def take(self, count: int) -> None:
        for _ in range(count):
            self._may_take.release()

    def refuse(self, count: int) -> None:
        self._refused += count

    def line(self, number: int) -> None:
        self._may_take.acquire()
        if self._refused:
            self._refused -= 1
            raise OSError("no space left on device")
        self.taken.append(number)

    def told(self, event: dict[str, Any]) -> None:
        if self._refused:
            raise OSError("no space left on device")
        self.taken.append(formatEvent(event))
        self.lost += event["lost"]


class LogThreadTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(_STEPS, st.booleans())
    def test_order_is_kept_and_missing_lines_are_reported_in_place(
        self, steps: list[tuple[str, int]], is_early: bool
    ) -> None:
        reader = Reader()
        log = LogThread(reader.told, max_lines=8)
        if not is_early:
            log.start()
        given_lines = 0
        for step, count in steps:
            if step == "give":
                for _ in range(count):
                    # This must not block, although the reader does not read.
                    number = given_lines
                    log.put(lambda number=number: reader.line(number))  # type: ignore[misc]
                    given_lines += 1
                self.assertLessEqual(log.waiting, 8 + 1)
            elif step == "take":
                reader.take(count)
            else:
                reader.refuse(count)
        log.start()
        reader.take(1000)
        self.assertTrue(log.close(5.0))
        written = [line for line in reader.taken if isinstance(line, int)]
        self.assertEqual(written, sorted(written))
        self.assertEqual(len(written) + log.lost, given_lines)
        if "fail" not in [step for step, _ in steps]:
            # Each gap between two lines has a report with the number of lines.
            self.assertEqual(reader.lost, log.lost)
            last = -1
            missing = 0
            for line in [*reader.taken, given_lines]:
                if isinstance(line, str):
                    missing = int(line.split()[0])
                    continue
                self.assertEqual(line - last - 1, missing)
                last, missing = line, 0

    def test_memory_is_bounded_by_characters_too(self) -> None:
        reader = Reader()
        log = LogThread(reader.told, max_lines=1000, max_chars=1000)
        for number in range(50):
            log.put(lambda number=number: reader.line(number), 100)  # type: ignore[misc]
        self.assertEqual((log.waiting, log.lost), (10, 40))
        # A line longer than the limit is accepted if it is the only one.
        alone = LogThread(reader.told, max_chars=10)
        alone.put(lambda: reader.line(0), 100)
        self.assertEqual((alone.waiting, alone.lost), (1, 0))

    def test_a_bug_in_an_observer_loses_only_its_line(self) -> None:
        reader = Reader()
        log = LogThread(reader.told)
        log.put(lambda: 1 / 0)
        log.put(lambda: reader.taken.append(1))
        self.assertTrue(log.close())
        self.assertEqual(log.lost, 1)
        self.assertEqual(reader.taken[1:], [1])
        self.assertIn("1 lines were lost", str(reader.taken[0]))

    def test_closing_does_not_wait_for_a_reader_that_reads_nothing(self) -> None:
        reader = Reader()
        log = LogThread(reader.told)
        log.start()
        log.put(lambda: reader.line(1))
        self.assertFalse(log.close(0.01, 0.02))
        reader.take(1)
        self.assertTrue(log.close())

    def test_logging_while_the_lock_is_held_is_not_a_deadlock(self) -> None:
        log = LogThread(lambda _: None)
        with log._changed:
            log.put(lambda: None)
        self.assertEqual(log.waiting, 1)


class RawOutputTests(SynchronousTestCase):
    def pipe(self, is_blocking: bool) -> tuple[int, int]:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writer, is_blocking)
        return reader, writer

    def test_everything_is_written_to_blocking_and_non_blocking_pipes(self) -> None:
        text = "é\ud800" * 5000 + "\n"
        expected = text.encode("utf-8", "backslashreplace")
        for is_blocking in (True, False):
            with self.subTest(is_blocking=is_blocking):
                reader, writer = self.pipe(is_blocking)
                log = LogThread(lambda _: None)
                QueuedOutput(log, RawOutput(writer)).write(text)
                log.start()
                data = b""
                while len(data) < len(expected):
                    data += os.read(reader, 10_000)
                self.assertEqual(data, expected)
                self.assertTrue(log.close())
                self.assertEqual(log.lost, 0)
