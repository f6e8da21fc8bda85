"""Capture files: what is lost by a bug or a full disk."""

from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import provider

from chime_gateway.call.capture import Entry
from chime_gateway.capture.files import CaptureFiles, append_lines
from chime_gateway.http.metrics import Metrics
from tests.support.files import temporary_folder
from tests.support.threads import ThreadTestCase


class CaptureFilesTests(ThreadTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        self.files = CaptureFiles(self.folder)
        self.files.start()
        self.addCleanup(self.files.stop, 5.0)

    def put(self, call_id: str, *names: str) -> None:
        for name in names:
            self.files.put(call_id, entry(name))

    def names(self, call_id: str) -> list[str]:
        path = self.folder / f"{call_id}.jsonl"
        if not path.exists():
            return []
        return [json.loads(line)[2] for line in path.read_text().splitlines()]

    def wait_for(self, call_id: str, *names: str) -> None:
        self.until(lambda: self.names(call_id) == list(names))

    def test_an_entry_that_cannot_be_encoded_is_skipped(self) -> None:
        self.put("a", "one")
        self.files.put("a", entry("two", object()))
        self.put("a", "three")
        self.put("b", "one")
        self.wait_for("a", "one", "three")
        self.wait_for("b", "one")
        self.assertEqual(self.files.worker.bugs, 1)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_a_full_disk_loses_only_what_does_not_fit(self) -> None:
        if not Path("/dev/full").exists():
            raise AssertionError("there is no /dev/full here")
        said = self.told()
        full = self.folder / "full.jsonl"
        full.symlink_to("/dev/full")
        for name in ("one", "two"):
            self.put("full", name)
            self.put("good", name)
        self.until(lambda: self.files.counts["not_written"] == 2)
        self.wait_for("good", "one", "two")
        full.unlink()
        self.put("full", "three")
        self.wait_for("full", "three")
        self.put("good", "three")
        self.wait_for("good", "one", "two", "three")
        self.assertEqual(self.files.counts["not_written"], 2)
        errors = [text for level, text in said if level is LogLevel.error]
        self.assertEqual(len(errors), 1)
        self.assertIn("No space left", errors[0])
        self.assertIn(
            "captures can be written again; 2 entries are missing", said[-1][1]
        )

    def test_a_partly_written_line_is_removed(self) -> None:
        path = self.folder / "half.jsonl"
        path.write_bytes(b'["earlier"]\n')
        with Filling(path, "a") as file:
            file.room = 14
            taken = append_lines(file, [b'["whole"]\n', b'["cut"]\n', b'["no"]\n'])
        self.assertEqual(path.read_bytes(), b'["earlier"]\n["whole"]\n')
        self.assertEqual(taken, (1, "No space left on device"))

    def test_a_blocked_thread_does_not_fill_the_memory(self) -> None:
        said = self.told()
        files = CaptureFiles(self.folder)
        for _ in range(200_010):  # the thread is not running
            files.put("a", entry("one"))
        self.assertEqual(files.counts["lost"], 10)
        self.assertEqual(len(said), 1)

    def test_the_metrics_show_the_state_of_the_thread(self) -> None:
        metrics = Metrics()
        metrics.call_storage = kept(self.files)
        self.files.put("a", entry("one", object()))
        self.until(lambda: self.files.worker.bugs)
        text = metrics.text().decode()
        for line in (
            'chimegw_worker_up{worker="captures"} 1.0',
            'chimegw_worker_waiting{worker="captures"} 0.0',
            'chimegw_worker_bugs_total{worker="captures"} 1.0',
            'chimegw_worker_refused_total{worker="captures"} 0.0',
            'chimegw_capture_entries_missing_total{reason="refused"} 1.0',
        ):
            self.assertIn(line, text)
        self.files.stop(5.0)
        text = metrics.text().decode()
        self.assertIn('chimegw_worker_up{worker="captures"} 0.0', text)
        self.flushLoggedErrors(TypeError)

    def told(self) -> list[tuple[Any, str]]:
        """Return the list to which log events are added, as (level, text)."""
        said: list[tuple[Any, str]] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "chime_gateway.capture.files.CaptureFiles":
                said.append((event["log_level"], formatEvent(event)))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return said


def kept(captures: CaptureFiles) -> Any:
    return SimpleNamespace(
        store=None,
        recordings=None,
        uploads=None,
        captures=captures,
        workers=lambda: [captures.worker],
    )


class Filling(FileIO):
    """A file on a disk with room for a limited number of bytes."""

    room = 0

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = super().write(bytes(data)[: self.room])
        self.room -= taken
        return taken


def entry(name: str, *arguments: Any) -> Entry:
    return (0.5, True, 1, name, list(arguments))
