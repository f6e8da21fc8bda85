from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.aws.errors import AwsError
from chime_gateway.settings.values import RecordingSettings
from chime_gateway.store.recordings.uploads import PART_BYTES, Uploads
from tests.support.files import temporary_folder


class FakeS3:
    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refusals: list[AwsError] = []

    async def call(
        self, service: str, operation: str, parameters: Any, **_: Any
    ) -> dict[str, Any]:
        self.asked.append((operation, dict(parameters)))
        if self.refusals:
            raise self.refusals.pop(0)
        return {"UploadId": "u1", "ETag": f'"{len(self.asked)}"'}

    async def link(
        self, service: str, operation: str, parameters: Any, seconds: int
    ) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        return f"https://{service}/{operation}/{parameters['Key']}?{seconds}"

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.asked]


class UploadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        self.s3 = FakeS3()
        self.clock = Clock()

    def uploads(self, **settings: Any) -> Uploads:
        return Uploads(
            RecordingSettings(location="s3://bucket/calls", **settings),
            self.s3,
            lambda function, *args: maybeDeferred(function, *args),
            self.clock,
            lambda: 0.5,
        )

    def file(self, size: int) -> Path:
        path = self.folder / "a.wav"
        path.write_bytes(os.urandom(size))
        return path

    def test_a_link_is_for_one_file_and_needs_credentials(self) -> None:
        def link(location: str, method: str) -> str:
            found: list[str] = []
            asking = Deferred.fromCoroutine(self.uploads().link(location, method))
            asking.addCallback(found.append)
            return found[0]

        there = "s3://bucket/calls/day/a.wav"
        self.assertEqual(link(there, "GET"), "https://s3/GetObject/calls/day/a.wav?300")
        self.assertIn("HeadObject", link(there, "HEAD"))
        for other in ("/var/calls/a.wav", "s3://bucket", "gs://bucket/a.wav", ""):
            self.assertEqual(link(other, "GET"), "")
        self.s3.refusals = [AwsError("s3", "GetObject", "NoCredentials", "none")]
        self.assertEqual(link(there, "GET"), "")

    def test_a_file_is_uploaded_encrypted_and_deleted_here(self) -> None:
        path = self.file(1000)
        data = path.read_bytes()
        self.uploads().add(path, "s3://bucket/calls/day/a.wav")
        ((operation, asked),) = self.s3.asked
        self.assertEqual(operation, "PutObject")
        self.assertEqual((asked["Bucket"], asked["Key"]), ("bucket", "calls/day/a.wav"))
        self.assertEqual(asked["ServerSideEncryption"], "AES256")
        self.assertEqual(asked["Body"], data)
        self.assertFalse(path.exists())

    def test_a_large_file_is_uploaded_in_parts(self) -> None:
        path = self.file(2 * PART_BYTES + 10)
        data = path.read_bytes()
        uploads = self.uploads(encryption="aws:kms", kms_key="key-1")
        uploads.add(path, "s3://bucket/calls/day/a.wav")
        self.assertEqual(
            self.s3.operations,
            [
                "CreateMultipartUpload",
                *["UploadPart"] * 3,
                "CompleteMultipartUpload",
            ],
        )
        self.assertEqual(self.s3.asked[0][1]["SSEKMSKeyId"], "key-1")
        bodies = b"".join(asked["Body"] for _, asked in self.s3.asked[1:4])
        self.assertEqual(bodies, data)
        parts = self.s3.asked[4][1]["MultipartUpload"]["Parts"]
        self.assertEqual([p["PartNumber"] for p in parts], [1, 2, 3])
        self.assertFalse(path.exists())

    def test_a_failed_upload_is_repeated_and_the_file_stays(self) -> None:
        path = self.file(1000)
        refusal = AwsError("s3", "PutObject", "AccessDenied", "no")
        self.s3.refusals = [refusal, refusal]
        uploads = self.uploads()
        uploads.add(path, "s3://bucket/a.wav")
        self.assertTrue(path.exists())
        self.assertEqual(uploads.waiting, 1)
        self.clock.advance(1.1)
        self.assertTrue(path.exists())
        self.clock.advance(5.1)
        self.assertFalse(path.exists())
        self.assertEqual(uploads.counts, {"failed": 2, "stored": 1})

    def test_the_parts_of_a_failed_upload_are_removed(self) -> None:
        path = self.file(PART_BYTES + 10)
        uploads = self.uploads()
        real = self.s3.call

        async def second_part_fails(*args: Any, **more: Any) -> dict[str, Any]:
            if args[2].get("PartNumber") == 2 and len(self.s3.asked) < 4:
                self.s3.refusals = [AwsError("s3", "UploadPart", "SlowDown", "no")]
            return await real(*args, **more)

        self.patch(self.s3, "call", second_part_fails)
        uploads.add(path, "s3://bucket/a.wav")
        self.assertEqual(self.s3.operations[-1], "AbortMultipartUpload")
        self.clock.advance(1.1)
        self.assertEqual(self.s3.operations[-1], "CompleteMultipartUpload")
        self.assertFalse(path.exists())

    def test_only_one_of_two_processes_uploads_a_file(self) -> None:
        path = self.file(3 * PART_BYTES)
        answers: list[Deferred[dict[str, Any]]] = []

        def call(_: str, operation: str, parameters: Any, **more: Any) -> Any:
            self.s3.asked.append((operation, dict(parameters)))
            answers.append(Deferred())
            return answers[-1]

        self.patch(self.s3, "call", call)
        old, new = self.uploads(), self.uploads()
        for uploads in (old, new, new):
            uploads.add(path, "s3://bucket/calls/day/a.wav")
        self.clock.advance(60.0)
        self.assertEqual(self.s3.operations, ["CreateMultipartUpload"])
        while answers:
            answers.pop().callback({"UploadId": "u1", "ETag": "1"})
        self.clock.pump([5.0] * 3)
        self.assertEqual(self.s3.operations.count("CompleteMultipartUpload"), 1)
        self.assertEqual(self.s3.operations.count("CreateMultipartUpload"), 1)
        self.assertEqual((old.waiting, new.waiting), (0, 0))
        self.assertEqual(new.counts, {"gone": 1})
        # If its process is killed meanwhile, another one uploads the file.
        path = self.file(1000)
        for uploads in (old, new):
            uploads.add(path, "s3://bucket/calls/day/a.wav")
        old.stop()
        self.clock.advance(5.0)
        answers.pop().callback({})
        self.assertEqual(new.counts["stored"], 1)

    def test_stopping_leaves_the_file_for_the_next_run(self) -> None:
        path = self.file(1000)
        waiting: Deferred[Any] = Deferred()

        async def never(*_: Any, **__: Any) -> dict[str, Any]:
            result: dict[str, Any] = await waiting
            return result

        self.patch(self.s3, "call", never)
        uploads = self.uploads()
        uploads.add(path, "s3://bucket/a.wav")
        self.successResultOf(uploads.stop())
        self.assertTrue(path.exists())
        self.assertIsNone(self.successResultOf(succeed(None)))
