"""Requests to AWS: against moto, and with failures."""

from __future__ import annotations

import logging
import os
import urllib.request
from collections.abc import Mapping
from typing import Any
from unittest import mock

from botocore.exceptions import ParamValidationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from chime_gateway.net.aws.api import AwsApi
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.settings.values import RecordingSettings
from chime_gateway.sim.aws.protocol import Fault, Operation
from chime_gateway.sim.caller.kinesis_line import BUCKET, QUEUE, KinesisWorld
from chime_gateway.store.recordings.uploads import PART_BYTES, Uploads
from tests.support.base import ReactorTestCase
from tests.support.files import temporary_folder

#: Checks no audio, so it may be slow; see tests/run.py.
gives_way = True


def fetch(link: str) -> bytes:
    """Fetch a link; blocks."""
    with urllib.request.urlopen(link, timeout=30) as answer:
        content: bytes = answer.read()
        return content


class Collected(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.lost: Deferred[None] = Deferred()
        self.enough: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > 5000 and not self.enough.called:
            self.enough.callback(None)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost.callback(None)


class ApiTestCase(ReactorTestCase):
    def api_at(self, environment: Mapping[str, str]) -> AwsApi:
        from twisted.internet import reactor

        patched = mock.patch.dict(os.environ, environment)
        patched.start()
        self.addCleanup(patched.stop)
        api = AwsApi(
            region="us-east-1",
            in_thread=lambda function, *args: deferToThread(function, *args),
            reactor=reactor,
            clock=reactor,
            jitter=lambda: 0.0,
        )
        self.addCleanup(deferLater, reactor, 0.05)
        self.addCleanup(api.close)
        return api


class MotoTests(ApiTestCase):
    def setUp(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self.addCleanup(server.stop)
        _, port = server.get_host_and_port()
        self.api = self.api_at(
            {
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            }
        )

    async def test_recordings_are_uploaded_encrypted_whole_and_in_parts(self) -> None:
        from twisted.internet import reactor

        await self.api.call("s3", "CreateBucket", {"Bucket": "recordings"})
        folder = temporary_folder(self)
        clock: Any = reactor
        uploads = Uploads(
            RecordingSettings(location="s3://recordings/calls"),
            self.api,
            lambda function, *args: deferToThread(function, *args),
            clock,
            lambda: 0.0,
        )
        for name, size in (("small", 1000), ("large", PART_BYTES + 1000)):
            path = folder / f"{name}.wav"
            data = os.urandom(size)
            path.write_bytes(data)
            uploads.add(path, f"s3://recordings/calls/{name}.wav")
            while path.exists():
                await deferLater(clock, 0.02)
            where = {"Bucket": "recordings", "Key": f"calls/{name}.wav"}
            head = await self.api.call("s3", "HeadObject", where)
            self.assertEqual(head["ServerSideEncryption"], "AES256")
            self.assertEqual(head["ContentType"], "audio/wav")
            receiver = Collected()
            await self.api.stream("s3", "GetObject", where, receiver)
            await receiver.lost
            self.assertEqual(receiver.data, data)
            # The link needs no other credentials.
            link = await uploads.link(f"s3://recordings/calls/{name}.wav", "GET")
            self.assertIn("X-Amz-Signature=", link)
            self.assertIn("X-Amz-Expires=300", link)
            self.assertEqual(await deferToThread(fetch, link), data)
        self.assertEqual(await uploads.link("/var/x.wav", "GET"), "")

    async def test_a_queue_is_made_used_and_removed(self) -> None:
        call = self.api.call
        made = await call(
            "sqs",
            "CreateQueue",
            {
                "QueueName": "chimegw-events-1",
                "Attributes": {"MessageRetentionPeriod": "300"},
                "tags": {"chime-gateway": "events"},
            },
        )
        queue = {"QueueUrl": made["QueueUrl"]}
        body = '{"Event":"played","Key":"replies/ä.wav"}'
        await call("sqs", "SendMessage", {**queue, "MessageBody": body})
        received = await call(
            "sqs",
            "ReceiveMessage",
            {
                **queue,
                "WaitTimeSeconds": 1,
                "MaxNumberOfMessages": 10,
                "MessageSystemAttributeNames": ["ApproximateReceiveCount"],
            },
        )
        (message,) = received["Messages"]
        self.assertEqual(message["Body"], body)
        self.assertEqual(message["Attributes"]["ApproximateReceiveCount"], "1")
        receipt = {"ReceiptHandle": message["ReceiptHandle"]}
        await call(
            "sqs",
            "ChangeMessageVisibility",
            {**queue, **receipt, "VisibilityTimeout": 40},
        )
        entries = [{"Id": "0", **receipt}]
        await call("sqs", "DeleteMessageBatch", {**queue, "Entries": entries})
        await call("sqs", "DeleteQueue", queue)
        with self.assertRaises(AwsError) as caught:
            await call("sqs", "ReceiveMessage", queue)
        self.assertTrue(caught.exception.code.endswith(("NonExistentQueue", "Exist")))

    async def test_a_file_is_stored_byte_by_byte(self) -> None:
        await self.api.call("s3", "CreateBucket", {"Bucket": "replies"})
        content = bytes(range(256)) * 300
        file = {"Bucket": "replies", "Key": "replies/a b+ä.wav"}
        await self.api.call("s3", "PutObject", {**file, "Body": content})
        receiver = Collected()
        await self.api.stream("s3", "GetObject", file, receiver)
        await receiver.lost
        self.assertEqual(receiver.data, content)
        with self.assertRaises(AwsError) as caught:
            other = {**file, "Bucket": "nobody-has-this", "Body": b""}
            await self.api.call("s3", "PutObject", other)
        self.assertEqual(caught.exception.code, "NoSuchBucket")

    async def test_a_video_stream_has_an_endpoint(self) -> None:
        made = await self.api.call(
            "kinesisvideo", "CreateStream", {"StreamName": "ChimeVoiceConnector-x"}
        )
        answer = await self.api.call(
            "kinesisvideo",
            "GetDataEndpoint",
            {"StreamARN": made["StreamARN"], "APIName": "GET_MEDIA"},
        )
        self.assertTrue(answer["DataEndpoint"].startswith("https://"))


class FailureTests(ApiTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.world = KinesisWorld(lambda event: None, reactor)
        listening: Any = reactor.listenTCP(
            0, self.world.aws.site(), interface="127.0.0.1"
        )
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port
        self.world.media.listens_on(self.port)
        self.api = self.api_at(self.world.aws.environment(self.port))

    async def refused(self, operation: str = "PutObject", **more: Any) -> AwsError:
        file = {"Bucket": BUCKET, "Key": "k", "Body": b"x"}
        with self.assertRaises(AwsError) as caught:
            await self.api.call("s3", operation, file, **more)
        error: AwsError = caught.exception
        return error

    async def test_a_throttled_request_is_repeated(self) -> None:
        faults = [Fault("SlowDown", "slow", 503), Fault("Throttling", "slow", 400)]

        def trouble(operation: Operation) -> Fault | None:
            return faults.pop() if faults else None

        self.world.aws.fault_plan = trouble
        file = {"Bucket": BUCKET, "Key": "k", "Body": b"x"}
        await self.api.call("s3", "PutObject", file)
        self.assertEqual(self.world.media.files.buckets[BUCKET]["k"], b"x")
        self.assertEqual(len(self.world.aws.asked), 3)

    async def test_lasting_throttling_is_reported(self) -> None:
        slow = Fault("SlowDown", "slow", 503)
        self.world.aws.fault_plan = lambda operation: slow
        error = await self.refused(attempts=2)
        self.assertIn("slow", str(error))
        self.assertEqual(len(self.world.aws.asked), 2)

    async def test_a_refusal_names_the_permission_and_is_not_repeated(self) -> None:
        denied = Fault("AccessDenied", "Access Denied", 403)
        self.world.aws.fault_plan = lambda operation: denied
        error = await self.refused()
        self.assertTrue(error.is_denied)
        self.assertIn("allow s3:PutObject", str(error))
        self.assertEqual(len(self.world.aws.asked), 1)

    async def test_expired_credentials_are_recognised(self) -> None:
        expired = Fault("ExpiredToken", "The provided token has expired.", 400)
        self.world.aws.fault_plan = lambda operation: expired
        error = await self.refused()
        self.assertTrue(error.is_expired)
        self.assertIn("have expired", str(error))

    async def test_a_wrong_secret_is_a_wrong_signature(self) -> None:
        wrong = {"AWS_SECRET_ACCESS_KEY": "wrong"}
        self.api = self.api_at({**self.world.aws.environment(self.port), **wrong})
        self.assertEqual((await self.refused()).code, "SignatureDoesNotMatch")

    async def test_missing_credentials_are_reported_with_a_remedy(self) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del os.environ[name]
        nowhere = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": ""}
        with mock.patch.dict(os.environ, nowhere):
            del os.environ["AWS_PROFILE"]
            error = await self.refused()
        self.assertIn("give this machine a role", str(error))

    async def test_a_missing_answer_times_out(self) -> None:
        self.world.aws.fault_plan = lambda operation: 0.4
        error = await self.refused(seconds=0.2, attempts=1)
        self.assertEqual(error.code, "")
        await deferLater(self.reactor(), 0.4)

    async def test_a_cancelled_request_is_not_repeated(self) -> None:
        queue = {"QueueUrl": self.world.media.queues.url_of(QUEUE)}
        parameters = {**queue, "WaitTimeSeconds": 20}
        waiting = Deferred.fromCoroutine(
            self.api.call("sqs", "ReceiveMessage", parameters)
        )
        while not self.world.aws.asked:
            await deferLater(self.reactor(), 0.01)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        await deferLater(self.reactor(), 0.3)
        self.assertEqual(len(self.world.aws.asked), 1)
        # The server notices it, too.
        self.assertEqual(self.world.media.queues.queues[QUEUE].waiting, [])

    async def test_a_refused_connection_is_a_passing_error(self) -> None:
        self.api = self.api_at({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
        error = await self.refused(attempts=1)
        self.assertTrue(error.is_passing)

    async def test_invalid_parameters_raise(self) -> None:
        with self.assertRaises(ParamValidationError):
            await self.api.call("s3", "PutObject", {"Bucket": BUCKET})

    async def test_a_stream_goes_on_until_its_reader_leaves(self) -> None:
        stream = self.world.stream()
        receiver = Collected()
        media = {"StreamARN": stream.arn}
        answer = await self.api.call(
            "kinesisvideo", "GetDataEndpoint", {**media, "APIName": "GET_MEDIA"}
        )
        headers = await self.api.stream(
            "kinesis-video-media",
            "GetMedia",
            {**media, "StartSelector": {"StartSelectorType": "NOW"}},
            receiver,
            endpoint=answer["DataEndpoint"],
        )
        self.assertEqual(headers["content-type"], "video/webm")
        stream.write(bytes(16_384), {"TransactionId": "t"})
        await receiver.enough
        self.assertEqual(receiver.data[:4], b"\x1a\x45\xdf\xa3")
        transport: Any = receiver.transport
        transport.loseConnection()
        await receiver.lost
        while stream.readers:
            await deferLater(self.reactor(), 0.01)

    def reactor(self) -> Any:
        from twisted.internet import reactor

        return reactor

    async def test_a_refused_stream_reports_the_reason(self) -> None:
        with self.assertRaises(AwsError) as caught:
            await self.api.stream(
                "kinesis-video-media",
                "GetMedia",
                {
                    "StreamARN": self.world.stream().arn + "0",
                    "StartSelector": {"StartSelectorType": "NOW"},
                },
                Collected(),
                endpoint=f"http://127.0.0.1:{self.port}",
            )
        self.assertEqual(caught.exception.code, "ResourceNotFoundException")

    async def test_a_long_poll_waits_without_a_thread(self) -> None:
        queue = {"QueueUrl": self.world.media.queues.url_of(QUEUE)}
        waiting = Deferred.fromCoroutine(
            self.api.call("sqs", "ReceiveMessage", {**queue, "WaitTimeSeconds": 20})
        )
        pool = self.reactor().getThreadPool()
        while not self.world.aws.asked or pool.working:
            await deferLater(self.reactor(), 0.01)
        self.assertFalse(waiting.called)
        self.world.media.queues.send(QUEUE, "x")
        answer = await waiting
        self.assertEqual(answer["Messages"][0]["Body"], "x")
