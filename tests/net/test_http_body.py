"""The bounded reader of HTTP bodies."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from chime_gateway.net.http_body import BodyCutShort, BodyTooLong, read_body
from chime_gateway.net.http_client import Answer


class Connection(StringTransport):
    """A connection that is lost as soon as it is aborted."""

    protocol: Protocol
    aborts = 0

    def abortConnection(self) -> None:
        self.aborts += 1
        self.protocol.connectionLost(Failure(ConnectionLost()))


class Response:
    """An answer whose body a test delivers."""

    def __init__(self) -> None:
        self.connection = Connection()

    def answer(self) -> Answer:
        abort = self.connection.abortConnection
        return Answer(200, Headers(), self.deliver, lambda *_: None, abort)

    def deliver(self, protocol: Protocol) -> None:
        self.protocol = self.connection.protocol = protocol
        protocol.makeConnection(self.connection)

    def end(self, reason: Exception) -> None:
        self.protocol.connectionLost(Failure(reason))


class ReadBodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.response = Response()
        self.reading: Deferred[bytes] = read_body(self.response.answer(), 10)

    def come(self, *parts: bytes) -> None:
        for part in parts:
            self.response.protocol.dataReceived(part)

    def test_the_whole_body_is_read(self) -> None:
        self.come(b"one", b"", b"two")
        self.assertNoResult(self.reading)
        self.response.end(ResponseDone())
        self.assertEqual(self.successResultOf(self.reading), b"onetwo")
        self.assertEqual(self.response.connection.aborts, 0)

    def test_the_body_may_be_empty(self) -> None:
        self.response.end(ResponseDone())
        self.assertEqual(self.successResultOf(self.reading), b"")

    def test_without_a_length_it_ends_with_its_connection(self) -> None:
        self.come(b"one")
        self.response.end(PotentialDataLoss())
        self.assertEqual(self.successResultOf(self.reading), b"one")

    def test_a_body_of_the_maximum_size_is_read(self) -> None:
        self.come(b"0123456789")
        self.response.end(ResponseDone())
        self.assertEqual(self.successResultOf(self.reading), b"0123456789")

    def test_one_byte_more_aborts_the_connection(self) -> None:
        self.come(b"0123456789", b"x")
        failure = self.failureResultOf(self.reading, BodyTooLong)
        self.assertEqual(str(failure.value), "more than 10 bytes")
        self.assertEqual(self.response.connection.aborts, 1)

    def test_data_after_the_limit_is_discarded(self) -> None:
        self.come(b"x" * 11, b"x" * 11, b"x" * 11)
        self.response.end(ResponseDone())
        self.failureResultOf(self.reading, BodyTooLong)
        self.assertEqual(self.response.connection.aborts, 1)

    def test_a_broken_connection_is_reported(self) -> None:
        for reason in (ConnectionLost("gone"), ResponseFailed([])):
            response = Response()
            reading = read_body(response.answer(), 10)
            response.protocol.dataReceived(b"one")
            response.end(reason)
            self.failureResultOf(reading, BodyCutShort)

    def test_cancelling_aborts_the_connection(self) -> None:
        self.come(b"one")
        self.reading.cancel()
        self.failureResultOf(self.reading, CancelledError)
        self.assertEqual(self.response.connection.aborts, 1)
        self.come(b"x" * 11)

    def test_cancelling_after_the_end_does_nothing(self) -> None:
        self.response.end(ResponseDone())
        self.reading.cancel()
        self.assertEqual(self.successResultOf(self.reading), b"")
        self.assertEqual(self.response.connection.aborts, 0)
