"""
Answers of a hostile or broken token service, read from a socket in memory.

What it sends, and how slowly, is random.
"""

from __future__ import annotations

import gzip
import io
from http.client import HTTPException
from typing import Any, cast

from azure.core.exceptions import ServiceResponseError
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.credentials import DEADLINE_SECONDS
from chime_gateway.agents.token_transport import (
    MOST_BYTES,
    TimeLeft,
    TokenTransport,
    response_class,
)

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_BOMB = gzip.compress(bytes(4 << 20))

#: (head, the data that is repeated after it)
HOSTILE = {
    "header": (_OK, b"a: b\r\n"),
    "long header": (_OK + b"a: ", b"x" * 4096),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "status": (b"HTTP/1.1 2", b"0"),
    "body": (_OK + b"\r\n", b" " * 4096),
    "length": (_OK + b"Content-Length: 99999999999\r\n\r\n", b" "),
    "chunks": (_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "bomb": (_OK + b"Content-Encoding: gzip\r\n\r\n" + _BOMB, b"x"),
    "layers": (_OK + b"Content-Encoding: gzip, GZIP\r\n\r\n", b"x"),
}


class Peer:
    """
    A socket whose peer never stops sending.

    @ivar read: number of bytes that were read from it.
    """

    def __init__(self, clock: Clock, kind: str, piece: int, pause: float) -> None:
        self._clock = clock
        self._pending, self._again = HOSTILE[kind]
        self._piece = piece
        self._pause = pause
        self._patience = 4.0
        self.read = 0

    def gettimeout(self) -> float:
        return self._patience

    def settimeout(self, seconds: float) -> None:
        self._patience = seconds

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO()

    def recv_into(self, buffer: Any) -> int:
        self._clock.advance(min(self._pause, self._patience))
        if self._pause > self._patience:
            raise TimeoutError("timed out")
        count = min(self._piece, len(buffer))
        while len(self._pending) < count:
            self._pending += self._again * (1 + count // len(self._again))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        self.read += count
        return count


class TokenServiceTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(sorted(HOSTILE)),
        st.sampled_from([1, 7, 4096, 1 << 20]),
        st.sampled_from([0.0, 0.5, 3.9, 5.0]),
    )
    def test_an_answer_is_limited_in_time_and_size(
        self, kind: str, piece: int, pause: float
    ) -> None:
        if pause == 0.0:
            piece = max(piece, 4096)  # as fast as possible
        clock = Clock()
        left = TimeLeft(clock.seconds)
        left.begin(DEADLINE_SECONDS)
        peer = cast(Any, Peer(clock, kind, piece, pause))
        answer = response_class(left)(peer, method="GET")
        try:
            answer.begin()
            answer.read()
        except (OSError, HTTPException):
            pass
        else:
            self.fail("it came to an end")
        self.assertLess(clock.seconds(), DEADLINE_SECONDS + 0.01)
        self.assertLess(peer.read, MOST_BYTES + io.DEFAULT_BUFFER_SIZE + 1)

    def test_a_retry_time_of_days_ends_the_request(self) -> None:
        clock = Clock()
        left = TimeLeft(clock.seconds)
        left.begin(DEADLINE_SECONDS)
        transport = TokenTransport(left, {"read_timeout": 1.0})
        transport.sleep(86400)
        self.assertIn("86400", left.why)
        self.assertRaises(ServiceResponseError, transport.send, None)

    def test_every_connection_is_limited_also_through_a_proxy(self) -> None:
        session = TokenTransport(TimeLeft(), {}).session
        for url in ("http://169.254.169.254", "https://login.microsoftonline.com"):
            adapter = session.get_adapter(url)
            proxy = adapter.proxy_manager_for("http://127.0.0.1:3128")
            for pools in (adapter.poolmanager, proxy):
                made = pools.connection_from_url(url).ConnectionCls.response_class
                self.assertEqual(made.__module__, response_class.__module__)
