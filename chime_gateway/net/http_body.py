"""
Reads the body of an HTTP answer, up to a given size.

It may be compressed with gzip, once; the limit applies to the decompressed size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from chime_gateway.net.http_client import Answer

#: RFC 9110 section 8.4.1.3: "x-gzip" is an alias.
_GZIP: Final = ("gzip", "x-gzip")

#: zlib's window bits, with a gzip header expected.
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS

#: Small chunks have framing of about their own size, and extensions.  But a server that
#: sends mostly framing, or gzip data that expands to nothing, is malicious: received
#: bytes are limited to this many times the limit of the body, and some to spare.
_FRAMING_FACTOR: Final = 8
_SPARE_BYTES: Final = 65_536


class BodyTooLong(Exception):
    """The body is longer than the limit; the connection was aborted."""


class BodyCutShort(Exception):
    """The connection broke before the end of the body."""


class BodyUnreadable(Exception):
    """The body's encoding is unsupported, or is not the one that is announced."""


def encodings(answer: Answer) -> list[str]:
    """The body's encodings, in the order they were applied (RFC 9110 section 8.4)."""
    lines = answer.headers.getRawHeaders("content-encoding") or []
    names = (name.strip().lower() for name in ",".join(lines).split(","))
    return [name for name in names if name not in ("", "identity")]


def read_body(answer: Answer, max_bytes: int) -> Deferred[bytes]:
    """
    Read the whole body.

    The Deferred fails with L{BodyTooLong}, L{BodyCutShort} or L{BodyUnreadable}.
    Cancelling it aborts the connection.
    """
    encoded = encodings(answer)
    is_gzip = len(encoded) == 1 and encoded[0] in _GZIP
    reader = (_GzipReader if is_gzip else _BodyReader)(max_bytes, answer.abort)
    if encoded and not is_gzip:
        named = ", ".join(encoded)[:80]
        reader.refuse(BodyUnreadable(f"its body is encoded as {named!r}"))
    else:
        most = _SPARE_BYTES + _FRAMING_FACTOR * max_bytes
        answer.bound(most, reader.exceeded)
        answer.deliver(reader)
    return reader.done


class _BodyReader(Protocol):
    def __init__(self, max_bytes: int, abort: Callable[[], None]) -> None:
        self._max_bytes = max_bytes
        self._abort = abort
        self._body = bytearray()
        self._is_over = False
        self.done: Deferred[bytes] = Deferred(lambda _: self._give_up())

    def refuse(self, why: Exception) -> None:
        """Stop reading, and fail with C{why}."""
        self._give_up()
        self.done.errback(why)

    def exceeded(self) -> None:
        """Too many bytes have come for a body within the limit."""
        if not self._is_over:
            self.refuse(BodyTooLong(f"more than {self._max_bytes} bytes"))

    def dataReceived(self, data: bytes) -> None:
        if not self._is_over:
            self._add(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_over:
            return
        # A body without a length ends with its connection.
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.refuse(BodyCutShort(reason.getErrorMessage()[:200]))
        elif not self._is_whole():
            self.refuse(BodyCutShort("its gzip data is incomplete"))
        else:
            self._is_over = True
            self.done.callback(bytes(self._body))

    def _is_whole(self) -> bool:
        return True

    def _add(self, data: bytes) -> None:
        if len(self._body) + len(data) > self._max_bytes:
            self.exceeded()
        else:
            self._body += data

    def _give_up(self) -> None:
        self._is_over = True
        self._body.clear()
        self._abort()


class _GzipReader(_BodyReader):
    def __init__(self, max_bytes: int, abort: Callable[[], None]) -> None:
        super().__init__(max_bytes, abort)
        self._gzip = zlib.decompressobj(_GZIP_BITS)
        self._is_empty = True

    def _is_whole(self) -> bool:
        # Some servers announce an encoding for an empty body.
        return self._gzip.eof or self._is_empty

    def _add(self, data: bytes) -> None:
        self._is_empty = False
        room = self._max_bytes - len(self._body)
        try:
            # One byte more than the limit shows that the body is too long.
            plain = self._gzip.decompress(data, room + 1)
        except zlib.error as exc:
            self.refuse(BodyUnreadable(f"its body is not gzip: {exc}"))
            return
        if self._gzip.unused_data:
            self.refuse(BodyUnreadable("its gzip data is followed by other data"))
        else:
            super()._add(plain)
