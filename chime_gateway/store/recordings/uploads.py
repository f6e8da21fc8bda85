"""
Uploads recordings from this machine's disk to S3.

The process that uploads a file locks it, so that only one process of a gateway uploads
it.

A file that S3 does not accept stays on this machine and is tried again; one that a
crash has left is found at the next start.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.net.aws.errors import AwsError
from chime_gateway.net.backoff import BackOff
from chime_gateway.services import AwsCalls, InThread
from chime_gateway.settings.values import RecordingSettings
from chime_gateway.store.writing.journal import is_file_of

#: Larger files are uploaded in parts of this size (S3 requires at least 5 MiB).
PART_BYTES: Final = 8 << 20

_BACK_OFF: Final = BackOff((1.0, 5.0, 15.0, 60.0, 300.0), spread=(0.75, 1.25))

#: How long a link is valid: it is used at once.
_LINK_SECONDS: Final = 300

_REQUEST_SECONDS: Final = 60.0

#: When a file that another process is uploading is checked again.
_HELD_SECONDS: Final = 5.0


class AwsFiles(AwsCalls, Protocol):
    """Sends requests to S3, and signs links."""

    async def link(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, object],
        seconds: int,
    ) -> str: ...


class Uploads:
    """
    Uploads one file after another.

    @ivar counts: the number of attempts, by result.
    """

    _log = Logger()

    def __init__(
        self,
        settings: RecordingSettings,
        aws: AwsFiles,
        in_thread: InThread,
        clock: IReactorTime,
        jitter: Callable[[], float],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._aws = aws
        self._in_thread = in_thread
        self._clock = clock
        self._jitter = jitter
        self._files: deque[tuple[Path, str]] = deque()
        self._working: Deferred[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._files)

    def add(self, path: Path, location: str) -> None:
        """
        Upload a file to C{location} (C{s3://...}), and delete it here, unless it is in
        the queue already.
        """
        if (path, location) in self._files:
            return
        self._files.append((path, location))
        if self._working is None:
            self._working = Deferred.fromCoroutine(self._work())
            self._working.addErrback(self._bug)

    def stop(self) -> Deferred[Any]:
        """Stop; an interrupted upload is repeated after the next start."""
        working, self._working = self._working, None
        self._files.clear()
        if working is None:
            return succeed(None)
        working.cancel()
        return working

    def _bug(self, failure: Failure) -> None:
        self._working = None
        if not failure.check(CancelledError):
            self._log.failure("a bug in uploading recordings", failure)

    async def _work(self) -> None:
        failures = 0
        while self._files:
            path, location = self._files[0]
            try:
                await self._upload(path, location)
            except FileNotFoundError:
                self.counts["gone"] += 1
            except BlockingIOError:
                # Another process is uploading it, and will delete it.
                self._files.rotate(-1)
                await deferLater(self._clock, _HELD_SECONDS)
                continue
            except (AwsError, OSError) as exc:
                self.counts["failed"] += 1
                failures += 1
                if failures in (1, 4):
                    self._log.error(
                        "could not upload a recording; it waits on this machine: {why}",
                        why=str(exc),
                    )
                # S3 may accept the next file.
                self._files.rotate(-1)
                pause = _BACK_OFF.pause(failures, self._jitter())
                await deferLater(self._clock, pause)
                continue
            failures = 0
            self._files.popleft()
        self._working = None

    async def _upload(self, path: Path, location: str) -> None:
        """
        @raise AwsError: S3 does not accept it.
        @raise OSError: it cannot be read.
        """
        bucket, _, key = location.removeprefix("s3://").partition("/")
        where = {"Bucket": bucket, "Key": key}
        how: dict[str, Any] = {**where, "ContentType": "audio/wav"}
        if self._settings.encryption:
            how["ServerSideEncryption"] = self._settings.encryption
            if self._settings.kms_key:
                how["SSEKMSKeyId"] = self._settings.kms_key
        file: BinaryIO = await self._in_thread(_held, path)
        try:
            size = await self._in_thread(lambda: os.fstat(file.fileno()).st_size)
            if size <= PART_BYTES:
                body = await self._in_thread(_read, file, 0, size)
                await self._s3("PutObject", {**how, "Body": body})
            else:
                await self._upload_parts(file, size, where, how)
            await self._in_thread(lambda: path.unlink(missing_ok=True))
        finally:
            file.close()
        self.counts["stored"] += 1

    async def _upload_parts(
        self, file: BinaryIO, size: int, where: dict[str, Any], how: dict[str, Any]
    ) -> None:
        made = await self._s3("CreateMultipartUpload", how)
        this = {**where, "UploadId": made["UploadId"]}
        parts = []
        try:
            for number, start in enumerate(range(0, size, PART_BYTES), 1):
                body = await self._in_thread(_read, file, start, PART_BYTES)
                done = await self._s3(
                    "UploadPart", {**this, "PartNumber": number, "Body": body}
                )
                parts.append({"PartNumber": number, "ETag": done["ETag"]})
            whole = {**this, "MultipartUpload": {"Parts": parts}}
            await self._s3("CompleteMultipartUpload", whole)
        except AwsError:
            # S3 charges for parts of an incomplete upload.
            try:
                await self._s3("AbortMultipartUpload", this)
            except AwsError as exc:
                self._log.warn(
                    "could not remove parts of an upload from S3: {why}", why=str(exc)
                )
            raise

    async def link(self, location: str, method: str) -> str:
        """
        Return a signed URL of a recording, for C{GET} or C{HEAD}; empty if the
        recording is not in S3, or if there are no credentials to sign with.
        """
        bucket, _, key = location.removeprefix("s3://").partition("/")
        if not location.startswith("s3://") or not key:
            return ""
        operation = "HeadObject" if method == "HEAD" else "GetObject"
        parameters = {"Bucket": bucket, "Key": key}
        try:
            return await self._aws.link("s3", operation, parameters, _LINK_SECONDS)
        except AwsError as exc:
            self._log.error("could not make a link to a recording: {why}", why=str(exc))
            return ""

    async def _s3(
        self, operation: str, parameters: dict[str, object]
    ) -> dict[str, Any]:
        return await self._aws.call(
            "s3", operation, parameters, seconds=_REQUEST_SECONDS
        )


def _held(path: Path) -> BinaryIO:
    """
    Open and lock a file.

    @raise BlockingIOError: another process has locked it.
    @raise OSError: it cannot be opened, or was deleted.
    """
    file = open(path, "rb")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_file_of(path, file.fileno()):
            raise FileNotFoundError(path)
    except OSError:
        file.close()
        raise
    return file


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    return os.pread(file.fileno(), count, start)
