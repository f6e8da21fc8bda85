"""Connections of the HTTP client: the size of any answer is limited."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import Request
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers

from chime_gateway.net.http_body import (
    BodyCutShort,
    BodyTooLong,
    BodyUnreadable,
    read_body,
)
from chime_gateway.net.http_client import MAX_HEAD_BYTES, Answer, BoundedConnection

MAX_BYTES = 1000


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


_names = st.text("abcde-", min_size=1, max_size=12)
_values = st.text("xyz ;=", max_size=200)
_headers = st.lists(
    st.tuples(
        st.sampled_from(["content-encoding", "connection", "x"]) | _names,
        st.sampled_from(["gzip", "gzip, gzip", "br", "close", ""]) | _values,
        st.sampled_from([1, 1, 1, 30, 1000]),
    ),
    max_size=6,
)
_status = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.1 102 x", "HTTP/1.1 -5 x", "HTTP/9 1000 x", "nonsense"]
)
_lengths = st.sampled_from(
    ["", "Transfer-Encoding: chunked", "Content-Length: 5", "Content-Length: -9x"]
)
_bodies = st.sampled_from([b"", b"12345", b"5\r\n12345\r\n0\r\n\r\n", bytes(99_999)])


class BoundedConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.connection = BoundedConnection(self.clock)
        self.connection.makeConnection(self.transport)
        request = Request(b"GET", b"/", Headers({"host": ["x"]}), None)
        self.asking = self.connection.request(request)

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionAborted()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @settings(max_examples=60, deadline=None)
    @given(_status, _headers, _lengths, _bodies, st.sampled_from([7, 4000, 1 << 20]))
    def test_any_answer_ends_within_its_limits(
        self, status: str, headers: Any, length: str, body: bytes, by: int
    ) -> None:
        self.setUp()
        lines = [status, length or "x-none: 1"]
        lines += [f"{name}: {value}" for name, value, n in headers for _ in range(n)]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        came = head + body
        outcome: list[Any] = []
        self.asking.addBoth(outcome.append)
        for at in range(0, len(came), by):
            if self.transport.aborted or self.transport.disconnecting:
                break
            self.connection.dataReceived(came[at : at + by])
            if outcome and isinstance(outcome[0], Answer):
                reading = read_body(outcome.pop(0), MAX_BYTES)
                reading.addBoth(outcome.append)
                if not outcome:
                    outcome.append(None)
        self.lose()
        result = next(each for each in outcome if each is not None)
        if isinstance(result, Failure):
            result.trap(ResponseFailed, BodyTooLong, BodyCutShort, BodyUnreadable)
        else:
            self.assertLessEqual(len(result), MAX_BYTES)
            self.assertLessEqual(len(head), MAX_HEAD_BYTES)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_head_may_have_the_maximum_size_and_no_byte_more(self) -> None:
        for more, is_good in ((0, True), (1, False)):
            self.setUp()
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
            while len(head) < MAX_HEAD_BYTES - 1000:
                head += b"a: " + b"x" * 500 + b"\r\n"
            head += b"b: "
            head += b"y" * (MAX_HEAD_BYTES + more - len(head) - 4) + b"\r\n\r\n"
            self.connection.dataReceived(head)
            if is_good:
                self.assertEqual(self.successResultOf(self.asking).code, 200)
            self.assertEqual(self.transport.aborted, not is_good)
            self.lose()
            if not is_good:
                failure = self.failureResultOf(self.asking, ResponseFailed)
                self.assertIn("its head is longer", str(failure.value.reasons[0]))

    def test_a_finished_connection_that_stays_open_is_aborted(self) -> None:
        self.connection.dataReceived(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.successResultOf(self.asking)
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(2.0)
        self.assertTrue(self.transport.aborted)
        self.lose()
