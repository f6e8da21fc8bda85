"""Files and folders that no other user can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.log.destination import log_of
from chime_gateway.audio import PCMU
from chime_gateway.capture.files import CaptureFiles
from chime_gateway.codec.registry import decode
from chime_gateway.net.system.private_files import make_folder, private
from chime_gateway.sim.caller.wav import write_wav
from chime_gateway.store.database import Database
from chime_gateway.store.entries import CLOSED
from chime_gateway.store.recordings.files import RecordingWriter
from chime_gateway.store.writing.aside import Aside
from chime_gateway.store.writing.journal import Journal
from tests.support.entries import closed
from tests.support.files import temporary_folder
from tests.support.threads import ThreadTestCase

UMASKS = st.sampled_from((0o000, 0o002, 0o022, 0o027, 0o077, 0o177, 0o277, 0o777))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


class PrivateFileTests(SynchronousTestCase):
    @settings(max_examples=20, deadline=None)
    @given(UMASKS, st.integers(1, 4))
    def test_files_and_folders_are_private_with_any_umask(
        self, umask: int, depth: int
    ) -> None:
        root = temporary_folder(self)
        folder = root.joinpath(*"abcd"[:depth])
        before = os.umask(umask)
        try:
            make_folder(folder)
            with open(folder / "file", "w", opener=private) as file:
                file.write("x")
        finally:
            os.umask(before)
        self.assertEqual(mode(folder / "file"), 0o600)
        while folder != root:
            self.assertEqual(mode(folder), 0o700)
            folder = folder.parent

    def test_existing_files_become_private_and_folders_do_not(self) -> None:
        root = temporary_folder(self)
        root.chmod(0o755)
        (root / "file").write_text("x")
        (root / "file").chmod(0o644)
        make_folder(root)
        with open(root / "file", "a", opener=private):
            pass
        self.assertEqual((mode(root / "file"), mode(root)), (0o600, 0o755))

    def test_the_mode_of_a_device_is_unchanged(self) -> None:
        before = mode(Path(os.devnull))
        with open(os.devnull, "w", opener=private):
            pass
        self.assertEqual(mode(Path(os.devnull)), before)

    def test_a_file_in_place_of_a_folder_is_reported(self) -> None:
        root = temporary_folder(self)
        (root / "file").write_text("x")
        with self.assertRaises(OSError):
            make_folder(root / "file" / "folder")


class KeptFilesTests(ThreadTestCase):
    """All files with data of calls, under a umask that restricts nothing."""

    def test_every_file_of_calls_is_private(self) -> None:
        root = temporary_folder(self)
        before = os.umask(0)
        try:
            state = root / "state"
            database = Database(f"sqlite:///{state}/db/chimegw.sqlite", state)
            database.migrate()
            database.apply([(CLOSED, closed("c", 1.0))])
            journal = Journal(state / "j" / "journal.jsonl")
            journal.append([])
            journal.close()
            Aside(state / "aside.jsonl").add([b"{}"])
            writer = RecordingWriter(root / "wav" / "in", str, lambda *_: None)
            writer.start()
            wav = writer.open("c", PCMU, 1_700_000_000.0)
            wav.write(bytes(160), bytes(160))
            captures = CaptureFiles(root / "captures" / "in")
            captures.start()
            captures.put("c", {"capture": 3})
            captures.stop(5.0)
            write_wav(root / "call.wav", 8000, decode(PCMU, bytes(160)))
            names = {path.name for path in root.rglob("*") if path.is_file()}
            # SQLite's files beside the open database.
            self.assertLessEqual({"chimegw.sqlite-wal", "chimegw.sqlite-shm"}, names)
            wav.finish()
            writer.stop(5.0)
            found = {path: mode(path) for path in root.rglob("*")}
            database.close()
        finally:
            os.umask(before)
        self.assertGreaterEqual(len(found), 13)
        for path, bits in found.items():
            wanted = 0o700 if path.is_dir() else 0o600
            self.assertEqual(oct(bits), oct(wanted), str(path.relative_to(root)))

    def test_a_log_and_its_rotated_files_are_private(self) -> None:
        root = temporary_folder(self)
        made: list[LogFile] = []
        new = LogFile.fromFullPath

        def made_at(path: str) -> LogFile:
            made.append(new(path))
            return made[-1]

        self.patch(LogFile, "fromFullPath", made_at)
        before = os.umask(0)
        try:
            reactor: Any = None
            log_of({"logfile": str(root / "a.log")}, reactor)
            made[0].write("x")
            made[0].rotate()
            made[0].close()
        finally:
            os.umask(before)
        self.assertEqual({mode(path) for path in root.iterdir()}, {0o600})
        self.assertEqual(len(list(root.iterdir())), 2)
