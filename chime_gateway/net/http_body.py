"""
Read the body of an answer over HTTP, up to a size.

Whose answer it is, and what is said about it, is not known here.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse


class BodyTooLong(Exception):
    """It is longer than may be read; the connection was given up."""


class BodyCutShort(Exception):
    """The connection broke before its end."""


def read_body(response: IResponse, max_bytes: int) -> Deferred[bytes]:
    """
    The Deferred fails with L{BodyTooLong} or L{BodyCutShort}.  Cancelling it gives
    the connection up.
    """
    reader = _BodyReader(max_bytes)
    response.deliverBody(reader)
    return reader.done


class _BodyReader(Protocol):
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._is_over = False
        self.done: Deferred[bytes] = Deferred(lambda _: self._give_up())

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        self._size += len(data)
        if self._size <= self._max_bytes:
            self._parts.append(data)
            return
        self._give_up()
        self.done.errback(BodyTooLong(f"more than {self._max_bytes} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_over:
            return
        self._is_over = True
        # An answer without a length ends with its connection.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(BodyCutShort(reason.getErrorMessage()[:200]))

    def _give_up(self) -> None:
        self._is_over = True
        self._parts.clear()
        transport: Any = self.transport
        abort = getattr(transport, "abortConnection", None) or getattr(
            transport, "loseConnection", None
        )
        if abort is not None:
            abort()
