"""
What queues, files and video streams do, as far as a gateway can tell.

SQS with visibility and a dead-letter queue, S3 without versions, Kinesis Video
Streams with one fragment behind the other.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.sim.aws_wire import ACCOUNT, REGION, Fault

_Parameters = Mapping[str, Any]


@define(eq=False)
class _Message:
    body: str
    message_id: str = Factory(lambda: secrets.token_hex(8))
    receipt: str = ""
    receives: int = 0
    visible_at: float = 0.0


@define(eq=False)
class Queue:
    """
    @ivar attributes: as they were set.
    @ivar messages: that were not deleted yet.
    """

    name: str
    attributes: dict[str, str]
    tags: dict[str, str] = Factory(dict)
    messages: list[_Message] = Factory(list)
    waiting: list[tuple[Deferred[None], IDelayedCall]] = Factory(list)


class Queues:
    """
    SQS.

    @ivar url: where they are reached.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.url = "http://127.0.0.1"
        self.queues: dict[str, Queue] = {}
        self._clock = clock

    def operations(self) -> dict[str, Callable[[_Parameters], Any]]:
        return {
            "CreateQueue": self._create,
            "GetQueueUrl": self._get_url,
            "GetQueueAttributes": self._get_attributes,
            "SetQueueAttributes": self._set_attributes,
            "ListQueues": self._list,
            "ListQueueTags": self._list_tags,
            "TagQueue": self._tag,
            "DeleteQueue": self._delete_queue,
            "SendMessage": self._send,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change_visibility,
        }

    def url_of(self, name: str) -> str:
        return f"{self.url}/{ACCOUNT}/{name}"

    def arn_of(self, name: str) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def send(self, name: str, body: str) -> None:
        queue = self.queues[name]
        queue.messages.append(_Message(body))
        self._wake(queue)

    def _find(self, parameters: _Parameters) -> Queue:
        name = parameters["QueueUrl"].rpartition("/")[2]
        if name not in self.queues:
            code = "AWS.SimpleQueueService.NonExistentQueue"
            raise Fault(code, "The specified queue does not exist.")
        return self.queues[name]

    def _create(self, parameters: _Parameters) -> Any:
        name = parameters["QueueName"]
        attributes = dict(parameters.get("Attributes", {}))
        known = self.queues.get(name)
        if known is None:
            tags = dict(parameters.get("tags", {}))
            self.queues[name] = Queue(name, attributes, tags)
        elif any(known.attributes.get(k) != v for k, v in attributes.items()):
            raise Fault("QueueAlreadyExists", "A queue of that name has others")
        return {"QueueUrl": self.url_of(name)}

    def _get_url(self, parameters: _Parameters) -> Any:
        self._find({"QueueUrl": parameters["QueueName"]})
        return {"QueueUrl": self.url_of(parameters["QueueName"])}

    def _get_attributes(self, parameters: _Parameters) -> Any:
        queue = self._find(parameters)
        found = {**queue.attributes, "QueueArn": self.arn_of(queue.name)}
        wanted = parameters.get("AttributeNames", ["All"])
        if "All" not in wanted:
            found = {name: found[name] for name in wanted if name in found}
        return {"Attributes": found}

    def _set_attributes(self, parameters: _Parameters) -> Any:
        self._find(parameters).attributes.update(parameters["Attributes"])
        return {}

    def _list(self, parameters: _Parameters) -> Any:
        prefix = parameters.get("QueueNamePrefix", "")
        names = [name for name in self.queues if name.startswith(prefix)]
        return {"QueueUrls": [self.url_of(name) for name in names]}

    def _list_tags(self, parameters: _Parameters) -> Any:
        return {"Tags": self._find(parameters).tags}

    def _tag(self, parameters: _Parameters) -> Any:
        self._find(parameters).tags.update(parameters["Tags"])
        return {}

    def _delete_queue(self, parameters: _Parameters) -> Any:
        queue = self._find(parameters)
        del self.queues[queue.name]
        self._wake(queue)
        return {}

    def _send(self, parameters: _Parameters) -> Any:
        queue = self._find(parameters)
        body = parameters["MessageBody"]
        self.send(queue.name, body)
        return {
            "MessageId": queue.messages[-1].message_id,
            "MD5OfMessageBody": hashlib.md5(body.encode()).hexdigest(),
        }

    async def _wait(self, queue: Queue, seconds: float) -> None:
        woken: Deferred[None] = Deferred()
        alarm = self._clock.callLater(seconds, woken.callback, None)
        entry = (woken, alarm)
        queue.waiting.append(entry)
        try:
            await woken
        finally:
            if entry in queue.waiting:
                queue.waiting.remove(entry)
            if alarm.active():
                alarm.cancel()

    def _wake(self, queue: Queue) -> None:
        for woken, alarm in tuple(queue.waiting):
            if alarm.active():
                alarm.cancel()
            if not woken.called:
                woken.callback(None)

    def _receive(self, parameters: _Parameters) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._received(parameters))

    async def _received(self, parameters: _Parameters) -> Any:
        queue = self._find(parameters)
        until = self._clock.seconds() + parameters.get("WaitTimeSeconds", 0)
        most = parameters.get("MaxNumberOfMessages", 1)
        visible = parameters.get("VisibilityTimeout", 30)
        while True:
            now = self._clock.seconds()
            if queue.name not in self.queues:
                self._find(parameters)
            found = [m for m in queue.messages if m.visible_at <= now][:most]
            found = [m for m in found if not self._set_aside(queue, m)]
            if found or now >= until:
                break
            hidden = [m.visible_at for m in queue.messages if m.visible_at > now]
            await self._wait(queue, max(0.001, min([until, *hidden]) - now))
        for message in found:
            message.receives += 1
            message.visible_at = self._clock.seconds() + visible
            message.receipt = secrets.token_hex(8)
        return {
            "Messages": [
                {
                    "MessageId": message.message_id,
                    "ReceiptHandle": message.receipt,
                    "Body": message.body,
                    "MD5OfBody": hashlib.md5(message.body.encode()).hexdigest(),
                    "Attributes": {"ApproximateReceiveCount": str(message.receives)},
                }
                for message in found
            ]
        }

    def _set_aside(self, queue: Queue, message: _Message) -> bool:
        """Redrive: a message that was taken too often goes to another queue."""
        policy = json.loads(queue.attributes.get("RedrivePolicy", "{}"))
        if not policy or message.receives < int(policy["maxReceiveCount"]):
            return False
        queue.messages.remove(message)
        self.send(policy["deadLetterTargetArn"].rpartition(":")[2], message.body)
        return True

    def _by_receipt(self, queue: Queue, receipt: str) -> _Message:
        for message in queue.messages:
            if message.receipt == receipt:
                return message
        raise Fault("ReceiptHandleIsInvalid", "The receipt handle is not valid")

    def _delete(self, parameters: _Parameters) -> Any:
        queue = self._find(parameters)
        queue.messages.remove(self._by_receipt(queue, parameters["ReceiptHandle"]))
        return {}

    def _delete_batch(self, parameters: _Parameters) -> Any:
        for entry in parameters["Entries"]:
            url = {"QueueUrl": parameters["QueueUrl"]}
            self._delete({**url, "ReceiptHandle": entry["ReceiptHandle"]})
        done = [{"Id": entry["Id"]} for entry in parameters["Entries"]]
        return {"Successful": done, "Failed": []}

    def _change_visibility(self, parameters: _Parameters) -> Any:
        queue = self._find(parameters)
        message = self._by_receipt(queue, parameters["ReceiptHandle"])
        message.visible_at = self._clock.seconds() + parameters["VisibilityTimeout"]
        self._wake(queue)
        return {}


class Files:
    """
    S3.

    @ivar buckets: name -> key -> content.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}

    def operations(self) -> dict[str, Callable[[_Parameters], Any]]:
        return {
            "CreateBucket": self._create,
            "PutObject": self._put,
            "GetObject": self._get,
        }

    def fetch(self, bucket: str, key: str) -> bytes | None:
        return self.buckets.get(bucket, {}).get(key)

    def _bucket(self, parameters: _Parameters) -> dict[str, bytes]:
        if parameters["Bucket"] not in self.buckets:
            text = "The specified bucket does not exist"
            raise Fault("NoSuchBucket", text, 404)
        return self.buckets[parameters["Bucket"]]

    def _create(self, parameters: _Parameters) -> Any:
        self.buckets.setdefault(parameters["Bucket"], {})
        return {"Location": f"/{parameters['Bucket']}"}

    def _put(self, parameters: _Parameters) -> Any:
        body = parameters.get("Body", b"")
        self._bucket(parameters)[parameters["Key"]] = body
        return {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}

    def _get(self, parameters: _Parameters) -> Any:
        body = self._bucket(parameters).get(parameters["Key"])
        if body is None:
            raise Fault("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": body}


def _element(number: int, payload: bytes, *, is_unknown: bool = False) -> bytes:
    """RFC 8794."""
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    size = (1 << 56) - 1 if is_unknown else len(payload)
    return name + (size | 1 << 56).to_bytes(8, "big") + payload


def _tags(tags: Mapping[str, str]) -> bytes:
    found = b""
    for name, value in tags.items():
        inner = _element(0x45A3, name.encode()) + _element(0x4487, value.encode())
        found += _element(0x7373, _element(0x67C8, inner))
    return _element(0x1254C367, found)


def _fragment(
    tags: Mapping[str, str], after: Mapping[str, str], at_ms: int, frames: list[bytes]
) -> bytes:
    """One Matroska document, as GetMedia sends a fragment."""
    audio = _element(0xB5, struct.pack(">d", 8000.0)) + _element(0x9F, b"\1")
    entry = (
        _element(0xD7, b"\1")
        + _element(0x83, b"\2")
        + _element(0x86, b"A_PCM/INT/LIT")
        + _element(0xE1, audio + _element(0x6264, b"\x10"))
    )
    blocks = b"".join(
        _element(0xA3, b"\x81" + struct.pack(">hB", 64 * n, 0x80) + frame)
        for n, frame in enumerate(frames)
    )
    timecode = _element(0xE7, at_ms.to_bytes(8, "big"))
    return _element(0x1A45DFA3, _element(0x4282, b"matroska")) + _element(
        0x18538067,
        _element(0x1549A966, _element(0x2AD7B1, (10**6).to_bytes(4, "big")))
        + _element(0x1654AE6B, _element(0xAE, entry))
        + _tags(tags)
        + _element(0x1F43B675, timecode + blocks)
        + _tags(after),
        is_unknown=True,
    )


@define(eq=False, slots=False)
class Stream:
    """
    One Kinesis video stream.

    @ivar fragments: number and bytes of each, from the beginning.
    @ivar readers: who is told of the next one.
    """

    arn: str
    clock: IReactorTime
    fragments: list[tuple[int, bytes]] = Factory(list)
    readers: list[_Reader] = Factory(list)
    _tail: bytes = b""
    _frames: list[bytes] = field(factory=list)

    #: A fragment of 8 frames of 64 ms.
    frames_each = 8

    def write(self, samples: bytes, tags: Mapping[str, str]) -> None:
        """So many 16 bit samples of a leg that is tagged so."""
        data = self._tail + samples
        while len(data) >= 1024:
            self._frames.append(data[:1024])
            data = data[1024:]
            if len(self._frames) == self.frames_each:
                self.cut(tags)
        self._tail = data

    def cut(self, tags: Mapping[str, str]) -> None:
        """End the fragment here."""
        frames, self._frames = self._frames, []
        number = 91343852333181437442444219794598596340754947404 + len(self.fragments)
        now = f"{time.time():.3f}"
        before = {
            "AWS_KINESISVIDEO_FRAGMENT_NUMBER": str(number),
            "AWS_KINESISVIDEO_SERVER_TIMESTAMP": now,
            "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP": now,
            **tags,
        }
        after = {
            "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW": "0",
            "AWS_KINESISVIDEO_CONTINUATION_TOKEN": str(number),
        }
        self.append(number, _fragment(before, after, 0, frames))

    def append(self, number: int, data: bytes) -> None:
        self.fragments.append((number, data))
        for reader in tuple(self.readers):
            reader.write(data)

    def error(self, code: str) -> None:
        """What GetMedia says when it cannot go on."""
        tags = {"AWS_KINESISVIDEO_ERROR_CODE": code, "AWS_KINESISVIDEO_ERROR_ID": "1"}
        for reader in tuple(self.readers):
            reader.write(_element(0x1A45DFA3, b"") + _tags(tags))

    def end(self) -> None:
        """Every GetMedia ends here."""
        for reader in tuple(self.readers):
            reader.finish()

    def next_number(self) -> int:
        return 91343852333181437442444219794598596340754947404 + len(self.fragments)


class _Reader:
    """One GetMedia."""

    def __init__(self, stream: Stream, after: int | None) -> None:
        self._stream = stream
        self._after = after

    def start(self, write: Callable[[bytes], None], finish: Callable[[], None]) -> None:
        self.write = write
        self.finish = finish
        self._stream.readers.append(self)
        for number, data in self._stream.fragments:
            if self._after is not None and number > self._after:
                write(data)

    def stop(self) -> None:
        self._stream.readers.remove(self)


class Streams:
    """
    Kinesis Video Streams.

    @ivar endpoint: where media is had.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.endpoint = "http://127.0.0.1"
        self.streams: dict[str, Stream] = {}
        self._clock = clock

    def operations(self) -> dict[str, Callable[[_Parameters], Any]]:
        return {"GetDataEndpoint": self._get_endpoint}

    def media_operations(self) -> dict[str, Callable[[_Parameters], Any]]:
        return {"GetMedia": self._get_media}

    def new_stream(self, voice_connector_id: str) -> Stream:
        name = f"ChimeVoiceConnector-{voice_connector_id}-{secrets.token_hex(8)}"
        arn = f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/{name}/1680731924044"
        stream = self.streams[arn] = Stream(arn, self._clock)
        return stream

    def _find(self, parameters: _Parameters) -> Stream:
        stream = self.streams.get(parameters.get("StreamARN", ""))
        if stream is None:
            text = "The requested stream is not found or not active"
            raise Fault("ResourceNotFoundException", text, 404)
        return stream

    def _get_endpoint(self, parameters: _Parameters) -> Any:
        self._find(parameters)
        return {"DataEndpoint": self.endpoint}

    def _get_media(self, parameters: _Parameters) -> Any:
        stream = self._find(parameters)
        selector = parameters["StartSelector"]
        kind = selector["StartSelectorType"]
        after: int | None = None
        if kind == "FRAGMENT_NUMBER":
            after = int(selector["AfterFragmentNumber"])
        elif kind == "CONTINUATION_TOKEN":
            after = int(selector["ContinuationToken"])
        elif kind == "EARLIEST":
            after = -1
        elif kind != "NOW":
            raise Fault("InvalidArgumentException", f"{kind} is not simulated")
        return _Reader(stream, after)
