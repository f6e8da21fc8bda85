"""Simulates the part of SQS that a gateway uses."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.sim.aws.protocol import ACCOUNT, REGION, Fault

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
    One queue.

    @ivar attributes: the attributes as they were set.
    @ivar messages: the messages that are not deleted yet.
    @ivar waiting: the long polls that are waiting for a message.
    """

    name: str
    attributes: dict[str, str]
    tags: dict[str, str] = Factory(dict)
    messages: list[_Message] = Factory(list)
    waiting: list[tuple[Deferred[None], IDelayedCall]] = Factory(list)


class Queues:
    """
    SQS.

    @ivar url: the URL at which the queues are reached.
    """

    def __init__(self, clock: IReactorTime, region: str = REGION) -> None:
        self.url = "http://127.0.0.1"
        self.queues: dict[str, Queue] = {}
        self._clock = clock
        self._region = region

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
        return f"arn:aws:sqs:{self._region}:{ACCOUNT}:{name}"

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
        """Move a message that was received too often to the dead-letter queue."""
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
