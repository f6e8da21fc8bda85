"""
An SQS queue: receives its messages, keeps them invisible to others, and deletes them.

A failed request to hold or delete something is logged and not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from twisted.logger import Logger

from chime_gateway.net.aws.errors import AwsError
from chime_gateway.net.backoff import BackOff
from chime_gateway.services import AwsCalls

#: How long a received message is invisible to others.
VISIBLE_SECONDS: Final = 40

#: The pause after a failed request to receive messages.
BACK_OFF: Final = BackOff.doubling(1.0, 30.0)

_POLL_SECONDS: Final = 20


class MessageQueue:
    """
    One SQS queue.

    @ivar url: its URL, which is its name in requests.
    """

    _log = Logger()

    def __init__(self, aws: AwsCalls, url: str) -> None:
        self.url = url
        self._aws = aws

    async def receive(self) -> list[dict[str, Any]]:
        """
        Receive messages.  Waits up to 20 s for the first; the list may be empty.

        @raise AwsError: the request failed.
        """
        answer = await self._aws.call(
            "sqs",
            "ReceiveMessage",
            {
                "QueueUrl": self.url,
                "MaxNumberOfMessages": 10,
                "WaitTimeSeconds": _POLL_SECONDS,
                "VisibilityTimeout": VISIBLE_SECONDS,
                "MessageSystemAttributeNames": ["ApproximateReceiveCount"],
            },
            seconds=_POLL_SECONDS + 10.0,
            attempts=1,
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    async def hold(self, receipt: str, seconds: int) -> None:
        """Keep a message invisible to others for this time; 0: give it back."""
        await self._attempt(
            "ChangeMessageVisibility",
            {"ReceiptHandle": receipt, "VisibilityTimeout": seconds},
        )

    async def delete(self, receipt: str) -> None:
        await self._attempt("DeleteMessage", {"ReceiptHandle": receipt})

    async def delete_all(self, receipts: Iterable[str]) -> None:
        """@param receipts: of the messages to delete, at most ten."""
        entries = [
            {"Id": str(at), "ReceiptHandle": receipt}
            for at, receipt in enumerate(receipts)
        ]
        await self._attempt("DeleteMessageBatch", {"Entries": entries})

    async def remove(self) -> None:
        """Delete the queue itself."""
        await self._attempt("DeleteQueue", {})

    async def _attempt(self, operation: str, parameters: Mapping[str, object]) -> None:
        try:
            await self._aws.call("sqs", operation, {"QueueUrl": self.url, **parameters})
        except AwsError as exc:
            self._log.warn("{why}", why=str(exc))
