"""
Receives the Lambda's reports: what callers hear, and how transfers go.

Each process has a queue for the reports on its own calls.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chime_gateway.carriers.kinesis.queue import BACK_OFF, MessageQueue
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.services import AwsCalls

#: Older reports are of no use.
_KEPT_SECONDS: Final = 300


class LambdaReports:
    """
    The reports of the Lambda for one process.

    @param prefix: of the queue's name.
    @param reported: called with the transaction id of the call, what happened, and the
        key of the file that was played, or an empty one.
    @param do: runs a request in the background.
    @param counts: counts malformed reports.
    """

    _log = Logger()

    def __init__(
        self,
        aws: AwsCalls,
        clock: IReactorTime,
        prefix: str,
        *,
        reported: Callable[[str, str, str], None],
        do: Callable[[Coroutine[Any, Any, None]], None],
        counts: Counter[str],
    ) -> None:
        self._aws = aws
        self._clock = clock
        self._prefix = prefix
        self._reported = reported
        self._do = do
        self._counts = counts
        self._queue: MessageQueue | None = None

    @property
    def url(self) -> str:
        """The queue for reports; empty: there is no queue yet."""
        return "" if self._queue is None else self._queue.url

    async def take(self) -> None:
        """Receive reports until cancelled."""
        failures = 0
        while True:
            try:
                if self._queue is None:
                    self._queue = await self._new_queue()
                messages = await self._queue.receive()
            except AwsError as exc:
                if exc.code.endswith("QueueDoesNotExist"):
                    self._queue = None
                self._log.warn(
                    "no playback reports: estimated from the clock: {why}", why=str(exc)
                )
                failures += 1
                await deferLater(self._clock, BACK_OFF.pause(failures))
                continue
            failures = 0
            for message in messages:
                # A bug in one call must not affect the others.
                with self._log.failuresHandled("a report was not processed"):
                    self._read(message["Body"])
            if messages:
                receipts = [message["ReceiptHandle"] for message in messages]
                self._do(self._queue.delete_all(receipts))

    async def stop(self) -> None:
        """Delete the queue."""
        if self._queue is not None:
            await self._queue.remove()

    async def _new_queue(self) -> MessageQueue:
        answer = await self._aws.call(
            "sqs",
            "CreateQueue",
            {
                "QueueName": f"{self._prefix}{secrets.token_hex(8)}",
                "Attributes": {"MessageRetentionPeriod": str(_KEPT_SECONDS)},
                "tags": {"chime-gateway": "events"},
            },
        )
        return MessageQueue(self._aws, answer["QueueUrl"])

    def _read(self, body: str) -> None:
        try:
            report = msgspec.json.decode(body)
            control_id, what = report["Transaction"], report["Event"]
            key = report.get("Key", "")
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError) as exc:
            self._counts["malformed_report"] += 1
            self._log.warn("malformed report in the queue: {why}", why=repr(exc))
            return
        self._reported(str(control_id), str(what), str(key))
