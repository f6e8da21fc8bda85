"""
Recordings as files: stereo WAV, the caller left and the agent right.

A separate thread writes; the reactor only hands over pieces.  A file is valid at any
time, except for the last pieces: its header is kept up to date, so that it can be
played after a crash.  It gets its final name when it is finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from twisted.logger import Logger

from chime_gateway.audio import Codec
from chime_gateway.net.system.private_files import make_folder, private
from chime_gateway.net.worker import WorkerThread
from chime_gateway.store.writing.journal import is_file_of, write_all

#: The suffix of a file that is being written, or that a crash has left unfinished.
PART: Final = ".part"

#: RIFF, WAVE, fmt and data: 16 bits, two channels.  The standard library's C{wave}
#: writes the header when a file is closed; here it is correct after every piece.  It is
#: repaired if a crash has truncated the file, which C{wave} could not read.
_HEAD: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_HEAD_BYTES: Final = _HEAD.size

#: Most audio that waits for a slow disk: half an hour of one call.
_MAX_WAITING_BYTES: Final = 64 << 20

#: The memory of a piece besides its samples.  With it, the number of waiting pieces
#: stays far below C{_MAX_WAITING}, which leaves room for the ends of files.
_PIECE_BYTES: Final = 1024
_MAX_WAITING: Final = 200_000


def head(rate: int, data_bytes: int) -> bytes:
    """Return the header of a stereo WAV file of 16 bit samples."""
    return _HEAD.pack(
        *(b"RIFF", _HEAD_BYTES - 8 + data_bytes, b"WAVE", b"fmt ", 16),
        *(1, 2, rate, rate * 4, 4, 16, b"data", data_bytes),
    )


def interleave(codec: Codec, caller: bytes, agent: bytes) -> bytes:
    """Return both sides as interleaved stereo samples."""
    # Imported in the writer's thread, where it delays nothing.
    import numpy as np

    from chime_gateway.codec.registry import decode

    left, right = decode(codec, caller), decode(codec, agent)
    frames = np.empty((len(left), 2), dtype="<i2")
    frames[:, 0] = left
    frames[:, 1] = right
    return frames.tobytes()


def whole_bytes(file: BinaryIO) -> int:
    """
    Return the valid length of a recording that may still be being written.  The file's
    position is at its beginning afterwards.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(_HEAD_BYTES)
    file.seek(0)
    if len(start) < _HEAD_BYTES:
        return size
    return min(size, _HEAD_BYTES + int(_HEAD.unpack(start)[-1]))


class WavFile:
    """
    The recording of one call.

    Implements L{chime_gateway.services.RecordingFile}.
    """

    def __init__(
        self, writer: RecordingWriter, path: Path, location: str, codec: Codec
    ) -> None:
        self.location = location
        self.fault = ""
        self.path = path
        self.codec = codec
        self._writer = writer
        self.file: BinaryIO | None = None
        self.data_bytes = 0

    @property
    def call_id(self) -> str:
        return self.path.stem

    def write(self, caller: bytes, agent: bytes) -> None:
        if not self.fault:
            self._writer.put(self, (caller, agent))

    def finish(self) -> None:
        self._writer.put(self, None)


#: A file, and both sides of a piece of it; C{None}: the end of the recording.
_Piece: TypeAlias = tuple[WavFile, tuple[bytes, bytes] | None]


class RecordingWriter:
    """
    Writes recordings in a thread.

    Implements L{chime_gateway.services.Recordings}.

    @ivar folder: where files are written.
    @param location_of: returns the name that records have for a file, given its path
        below the folder.
    @param finished: called in the thread with each finished file.
    @param written: called with each recording that is over, complete or not: in the
        thread, or in the reactor if the queue had no room for its end.
    @ivar unwritten: recordings that are not over, by location; the receiver of
        C{written} removes them.
    @ivar counts: the number of files, by result.
    @ivar worker: the thread.
    """

    _log = Logger()

    def __init__(
        self,
        folder: Path,
        location_of: Callable[[str], str],
        finished: Callable[[Path, str], None] = lambda *_: None,
        written: Callable[[WavFile], None] = lambda _: None,
    ) -> None:
        self.unwritten: dict[str, WavFile] = {}
        self.counts: Counter[str] = Counter()
        self.folder = folder
        self._location_of = location_of
        self._finished = finished
        self._written = written
        self.worker: WorkerThread[_Piece] = WorkerThread(
            "recordings",
            self._work,
            max_jobs=_MAX_WAITING,
            max_bytes=_MAX_WAITING_BYTES,
        )

    # -- from the reactor --------------------------------------------------------

    def start(self) -> None:
        self.worker.start()

    def stop(self, seconds: float) -> None:
        """Write what is waiting; called in a thread of the pool."""
        self.worker.stop(seconds)

    def open(self, call_id: str, codec: Codec, started_at: float) -> WavFile:
        day = time.strftime("%Y-%m-%d", time.gmtime(started_at))
        name = f"{day}/{call_id}.wav"
        wav = WavFile(self, self.folder / name, self._location_of(name), codec)
        self.unwritten[wav.location] = wav
        return wav

    def put(self, wav: WavFile, sides: tuple[bytes, bytes] | None) -> None:
        """@param sides: the caller's and the agent's; C{None}: the end."""
        size = 0 if sides is None else sum(map(len, sides)) + _PIECE_BYTES
        is_refused = not self.worker.offer((wav, sides), size)
        if is_refused and not wav.fault:
            wav.fault = "the disk is too slow"
            self.counts["too_slow"] += 1
            self._log.error(
                "a recording is incomplete: {why}", why=wav.fault, call_id=wav.call_id
            )
        if sides is None and is_refused:
            self._written(wav)

    def path_of(self, location: str) -> Path | None:
        """Return the file of a recording, if it is on this machine."""
        name = "/".join(location.rsplit("/", 2)[-2:])
        path = self.folder / name
        if self._location_of(name) != location or not path.is_file():
            return None
        return path

    def live_path(self, call_id: str) -> Path | None:
        """
        Return the file that any process of the gateway is writing for a call, once it
        has a header.  This blocks.
        """
        name = f"{call_id}.wav{PART}"
        for part in self.folder.glob(f"*/*.wav{PART}"):
            if part.name == name:
                with contextlib.suppress(FileNotFoundError):  # finished by now
                    return part if part.stat().st_size >= _HEAD_BYTES else None
        return None

    # -- in the thread -----------------------------------------------------------

    def _work(self, pieces: list[_Piece]) -> None:
        for wav, sides in pieces:
            try:
                if sides is None:
                    self._finish(wav)
                else:
                    self._write(wav, *sides)
            except OSError as exc:
                self._failed(wav, str(exc.strerror or exc))
            except Exception:
                self._failed(wav, "a bug; the log has a traceback")
                raise
            finally:
                if sides is None:
                    self._written(wav)

    def _write(self, wav: WavFile, caller: bytes, agent: bytes) -> None:
        if wav.fault:
            return
        file = wav.file or _begun(wav)
        data = interleave(wav.codec, caller, agent)
        write_all(file, data)
        wav.data_bytes += len(data)
        os.pwrite(file.fileno(), head(wav.codec.clock_rate, wav.data_bytes), 0)

    def _finish(self, wav: WavFile) -> None:
        if wav.file is None and wav.fault:
            return
        # A very short call has no file yet, but its record names one.
        file = wav.file or _begun(wav)
        wav.file = None
        file.close()
        os.replace(_part(wav.path), wav.path)
        self.counts["finished"] += 1
        self._finished(wav.path, wav.location)

    def _failed(self, wav: WavFile, why: str) -> None:
        if not wav.fault:
            wav.fault = f"it could not be written: {why}"
            self.counts["failed"] += 1
            # Even without memory for this line, the file has to be closed.
            with contextlib.suppress(MemoryError):
                self._log.error(
                    "a recording could not be written: {why}",
                    why=why,
                    call_id=wav.call_id,
                )
        file, wav.file = wav.file, None
        if file is None:
            return
        try:
            # The file can be played; the record says that it is incomplete.
            os.ftruncate(file.fileno(), _HEAD_BYTES + wav.data_bytes)
            file.close()
            os.replace(_part(wav.path), wav.path)
            self._finished(wav.path, wav.location)
        except OSError:
            file.close()

    # -- left by a crash ---------------------------------------------------------

    def repair(self) -> int:
        """
        Finish the files that an earlier run left unfinished.

        @return: how many files.
        """
        count = 0
        for part in sorted(self.folder.glob(f"*/*.wav{PART}")):
            path = part.with_suffix("")
            try:
                repair(part, path)
            except (BlockingIOError, FileNotFoundError):
                continue  # another process is writing it, or has repaired it
            except OSError as exc:
                self._log.error(
                    "could not repair a recording: {why}", why=str(exc.strerror)
                )
                continue
            count += 1
            self.counts["mended"] += 1
            self._finished(path, self._location_at(path))
        return count

    def left_over(self) -> list[tuple[Path, str]]:
        """Return the finished files in the folder, with their names in records."""
        return [
            (path, self._location_at(path))
            for path in sorted(self.folder.glob("*/*.wav"))
        ]

    def _location_at(self, path: Path) -> str:
        return self._location_of(f"{path.parent.name}/{path.name}")


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)


def _begun(wav: WavFile) -> BinaryIO:
    """Create the file, with a header and nothing else."""
    make_folder(wav.path.parent)
    part = _part(wav.path)
    while True:
        file = wav.file = open(  # noqa: SIM115
            part, "wb", buffering=0, opener=private
        )
        # Locked while it is written, so that no other process repairs it meanwhile.
        fcntl.flock(file, fcntl.LOCK_EX)
        if is_file_of(part, file.fileno()):
            file.write(head(wav.codec.clock_rate, 0))
            return file
        # Before the lock was taken, a process that starts has taken the file for one
        # that a crash has left.
        wav.file = None
        file.close()


def repair(part: Path, path: Path) -> None:
    """
    Make the header match the data, in whole samples, and give the file its final name.

    @raise OSError: it cannot be read or written, or is being written.
    """
    with open(part, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_file_of(part, file.fileno()):
            raise FileNotFoundError(part)
        size = os.fstat(file.fileno()).st_size
        start = file.read(_HEAD_BYTES)
        rate = 8000
        if len(start) == _HEAD_BYTES:
            rate = _HEAD.unpack(start)[7]
        data_bytes = max(0, size - _HEAD_BYTES)
        data_bytes -= data_bytes % 4
        file.truncate(_HEAD_BYTES + data_bytes)
        file.seek(0)
        file.write(head(rate, data_bytes))
        file.flush()
        os.replace(part, path)
