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

#: RFC 9110 section 8.4.1.3: "x-gzip" is the same.
_GZIP: Final = ("gzip", "x-gzip")

#: Of zlib: a gzip header is expected.
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS

#: Chunks of some bytes have as many bytes around them, and a server may say some words
#: in each; but one that sends mostly what is no body means harm, as a gzip may go on
#: and on with nothing in it.
_MOST_AROUND: Final = 8
_SPARE_BYTES: Final = 65_536


class BodyTooLong(Exception):
    """The body is longer than the limit; the connection was aborted."""


class BodyCutShort(Exception):
    """The connection broke before the end of the body."""


class BodyUnreadable(Exception):
    """The body has an unsupported encoding, or is not in the one that it names."""


def encodings(answer: Answer) -> list[str]:
    """The body's encodings, in the order they were applied (RFC 9110 section 8.4)."""
    lines = answer.headers.getRawHeaders("content-encoding") or []
    names = (name.strip().lower() for name in ",".join(lines).split(","))
    return [name for name in names if name not in ("", "identity")]


def read_body(answer: Answer, max_bytes: int) -> Deferred[bytes]:
    """
    The Deferred fails with L{BodyTooLong}, L{BodyCutShort} or L{BodyUnreadable}.
    Cancelling it gives the connection up.
    """
    encoded = encodings(answer)
    is_gzip = len(encoded) == 1 and encoded[0] in _GZIP
    reader = (_GzipReader if is_gzip else _BodyReader)(max_bytes, answer.abort)
    if encoded and not is_gzip:
        named = ", ".join(encoded)[:80]
        reader.refuse(BodyUnreadable(f"its body is encoded as {named!r}"))
    else:
        most = _SPARE_BYTES + _MOST_AROUND * max_bytes
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
        """Nothing of it is read, or no more."""
        self._give_up()
        self.done.errback(why)

    def exceeded(self) -> None:
        """Far more came than belongs to a body of that size."""
        if not self._is_over:
            self.refuse(BodyTooLong(f"more than {self._max_bytes} bytes"))

    def dataReceived(self, data: bytes) -> None:
        if not self._is_over:
            self._add(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_over:
            return
        # An answer without a length ends with its connection.
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.refuse(BodyCutShort(reason.getErrorMessage()[:200]))
        elif not self._is_whole():
            self.refuse(BodyCutShort("its gzip has no end"))
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
        # Some servers name an encoding where there is no body.
        return self._gzip.eof or self._is_empty

    def _add(self, data: bytes) -> None:
        self._is_empty = False
        room = self._max_bytes - len(self._body)
        try:
            # One byte more than there is room for tells that it is too long.
            plain = self._gzip.decompress(data, room + 1)
        except zlib.error as exc:
            self.refuse(BodyUnreadable(f"its body is not gzip: {exc}"))
            return
        if self._gzip.unused_data:
            self.refuse(BodyUnreadable("something follows its gzip"))
        else:
            super()._add(plain)
