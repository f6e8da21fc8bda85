from __future__ import annotations

import fcntl
import os
import wave
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chime_gateway.audio import L16_24000, PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.store.recordings.files import (
    PART,
    RecordingWriter,
    head,
    whole_bytes,
)
from tests.support.files import temporary_folder
from tests.support.threads import ThreadTestCase

STARTED = 1_700_000_000.0
DAY = "2023-11-14"


def dominant_hz(samples: Any, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    return float(np.argmax(spectrum) * rate / len(samples))


class WriterTests(ThreadTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        self.finished: list[tuple[Path, str]] = []
        self.writer = self.new_writer()

    def new_writer(self) -> RecordingWriter:
        return RecordingWriter(
            self.folder,
            lambda name: f"/recordings/{name}",
            lambda *file: self.finished.append(file),
        )

    def read(self, path: Path) -> tuple[int, Any]:
        with wave.open(str(path), "rb") as file:
            self.assertEqual((file.getnchannels(), file.getsampwidth()), (2, 2))
            data = file.readframes(file.getnframes())
            return file.getframerate(), np.frombuffer(data, "<i2").reshape(-1, 2)

    def test_the_valid_length_of_an_unfinished_file_comes_from_its_header(self) -> None:
        """The header may lack the last piece, or may be incomplete itself."""
        path = self.folder / "x.wav"
        for there, said, expected in (
            (head(8000, 8) + bytes(8), 8, 52),
            (head(8000, 8) + bytes(12), 8, 52),
            (head(8000, 8) + bytes(4), 8, 48),
            (head(8000, 0), 0, 44),
            (head(8000, 0)[:20], 0, 20),
            (b"", 0, 0),
        ):
            path.write_bytes(there)
            with open(path, "rb") as file:
                self.assertEqual(whole_bytes(file), expected, said)
                self.assertEqual(file.tell(), 0)

    def test_an_unfinished_file_is_found_by_its_call(self) -> None:
        self.writer.start()
        wav = self.writer.open("abc", PCMU, STARTED)
        wav.write(PCMU.silence(8000), PCMU.silence(8000))
        part = self.folder / DAY / f"abc.wav{PART}"
        while self.writer.live_path("abc") != part:
            os.sched_yield()
        for other in ("ab", "*", "../abc", "abc.wav", ""):
            self.assertIsNone(self.writer.live_path(other))
        wav.finish()
        self.writer.stop(5.0)
        self.assertIsNone(self.writer.live_path("abc"))

    def test_the_file_of_a_live_call_is_found_once_it_has_a_header(self) -> None:
        folder = self.folder / DAY
        folder.mkdir(parents=True)
        part = folder / f"abc.wav{PART}"
        for size, found in ((0, None), (43, None), (44, part)):
            part.write_bytes(bytes(size))
            self.assertEqual(self.writer.live_path("abc"), found, size)

    def test_the_caller_is_left_and_the_agent_right(self) -> None:
        self.writer.start()
        for codec in (PCMU, L16_24000):
            wav = self.writer.open(f"call-{codec.clock_rate}", codec, STARTED)
            wav.write(tone(codec, 440.0, 1.0), tone(codec, 880.0, 1.0))
            wav.write(tone(codec, 440.0, 1.0), codec.silence(codec.bytes_per_second))
            wav.finish()
        self.writer.stop(5.0)
        for codec in (PCMU, L16_24000):
            path = self.folder / DAY / f"call-{codec.clock_rate}.wav"
            rate, samples = self.read(path)
            self.assertEqual((rate, len(samples)), (codec.clock_rate, 2 * rate))
            self.assertApproximates(dominant_hz(samples[:rate, 0], rate), 440, 2)
            self.assertApproximates(dominant_hz(samples[:rate, 1], rate), 880, 2)
            self.assertLess(np.abs(samples[rate:, 1]).max(), 10)
            self.assertEqual(path.stat().st_mode & 0o077, 0)

    @staticmethod
    def says(part: Path, data_bytes: int) -> bool:
        """Whether the header of the file is up to date."""
        return part.exists() and part.read_bytes()[:44] == head(8000, data_bytes)

    def test_an_unfinished_file_can_be_played(self) -> None:
        self.writer.start()
        wav = self.writer.open("call", PCMU, STARTED)
        part = self.folder / DAY / f"call.wav{PART}"
        for seconds in (1, 2, 3):
            wav.write(b"\x10" * 8000, b"\xff" * 8000)
            self.until(partial(self.says, part, seconds * 32_000))
            _, samples = self.read(part)
            self.assertEqual(len(samples), seconds * 8000)
        self.assertFalse(part.with_suffix("").exists())
        wav.finish()
        self.writer.stop(5.0)
        self.assertTrue(part.with_suffix("").exists())
        self.assertFalse(part.exists())

    def test_a_file_left_by_a_crash_is_repaired(self) -> None:
        part = self.folder / DAY / f"lost.wav{PART}"
        part.parent.mkdir()
        # The header lacks one piece, and the last sample is incomplete.
        part.write_bytes(head(8000, 32_000) + b"\x01\x02" * 32_000 + b"\x07")
        self.assertEqual(self.writer.repair(), 1)
        _, samples = self.read(self.folder / DAY / "lost.wav")
        self.assertEqual(len(samples), 16_000)
        path = self.folder / DAY / "lost.wav"
        self.assertEqual(self.finished, [(path, f"/recordings/{DAY}/lost.wav")])

    def test_a_file_truncated_at_any_byte_is_repaired(self) -> None:
        whole = head(8000, 400) + b"\x01\x02" * 200
        (self.folder / DAY).mkdir()
        for length in range(0, len(whole), 7):
            part = self.folder / DAY / f"c{length}.wav{PART}"
            part.write_bytes(whole[:length])
        self.writer.repair()
        for length in range(0, len(whole), 7):
            _, samples = self.read(self.folder / DAY / f"c{length}.wav")
            self.assertEqual(len(samples), max(0, length - 44) // 4)

    def test_a_file_that_another_gateway_writes_is_left_alone(self) -> None:
        self.writer.start()
        wav = self.writer.open("busy", PCMU, STARTED)
        wav.write(b"\x10" * 80, b"\xff" * 80)
        self.until(lambda: wav.data_bytes)
        self.assertEqual(self.new_writer().repair(), 0)
        wav.finish()
        self.writer.stop(5.0)

    def test_a_file_that_is_repaired_before_it_is_locked_is_created_again(self) -> None:
        other, real = self.new_writer(), fcntl.flock

        def flock(file: Any, how: int) -> None:
            # After the file was created, before it is locked.
            self.patch(fcntl, "flock", real)
            self.assertEqual(other.repair(), 1)
            real(file, how)

        self.patch(fcntl, "flock", flock)
        wav = self.writer.open("c0", PCMU, STARTED)
        self.writer._work([(wav, (b"\x10" * 160, b"\x20" * 160)), (wav, None)])
        self.assertEqual(self.writer.counts, {"finished": 1})
        _, samples = self.read(self.folder / DAY / "c0.wav")
        self.assertEqual(len(samples), 160)

    def test_a_disk_that_is_full_ends_the_recording_and_nothing_else(self) -> None:
        if not Path("/dev/full").exists():
            raise AssertionError("there is no /dev/full here")
        (self.folder / DAY).mkdir()
        os.symlink("/dev/full", self.folder / DAY / f"full.wav{PART}")
        self.writer.start()
        full = self.writer.open("full", PCMU, STARTED)
        good = self.writer.open("good", PCMU, STARTED)
        for _ in range(3):
            full.write(b"\x10" * 80, b"\xff" * 80)
            good.write(b"\x10" * 80, b"\xff" * 80)
        full.finish()
        good.finish()
        self.writer.stop(5.0)
        self.assertIn("No space left", full.fault)
        self.assertEqual(good.fault, "")
        self.assertEqual(self.writer.counts, {"failed": 1, "finished": 1})

    def test_a_bug_ends_one_recording_and_nothing_else(self) -> None:
        self.writer.start()
        bad = self.writer.open("bad", PCMU, STARTED)
        good = self.writer.open("good", PCMU, STARTED)
        bad.write(b"\x10" * 80, b"\xff" * 80)
        for _ in range(3):
            bad.write(b"\x10" * 80, b"\xff" * 40)  # no piece has two lengths
            good.write(b"\x10" * 80, b"\xff" * 80)
        bad.finish()
        good.finish()
        self.writer.stop(5.0)
        self.assertTrue(bad.fault)
        self.assertEqual(good.fault, "")
        _, samples = self.read(bad.path)
        self.assertEqual(len(samples), 80)
        _, samples = self.read(good.path)
        self.assertEqual(len(samples), 240)
        self.assertEqual(self.writer.counts, {"failed": 1, "finished": 1})
        self.assertEqual(self.writer.worker.bugs, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_disk_that_blocks_does_not_fill_the_memory(self) -> None:
        wav = self.writer.open("slow", PCMU, STARTED)
        for _ in range(200):  # the thread does not run
            wav.write(bytes(500_000), bytes(500_000))
        self.assertEqual(wav.fault, "the disk is too slow")
        self.assertLess(self.writer.worker.waiting, 68)  # of 1 MB each

    def test_a_very_short_call_has_a_file(self) -> None:
        self.writer.start()
        self.writer.open("short", PCMU, STARTED).finish()
        self.writer.stop(5.0)
        _, samples = self.read(self.folder / DAY / "short.wav")
        self.assertEqual(len(samples), 0)

    def test_only_recordings_are_found_by_their_location(self) -> None:
        self.writer.start()
        wav = self.writer.open("call", PCMU, STARTED)
        wav.finish()
        self.writer.stop(5.0)
        self.assertEqual(self.writer.path_of(wav.location), wav.path)
        for location in ("/recordings/../etc/passwd", "/etc/passwd", "", "s3://x/y/z"):
            self.assertIsNone(self.writer.path_of(location))
