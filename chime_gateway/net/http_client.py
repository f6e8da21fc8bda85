"""
An HTTP client that limits the size of answers.

It limits the head of an answer, keeps no cookies, and follows no redirects.
L{chime_gateway.net.http_body} reads bodies.  The code that makes a request sets its
time limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any, Final

from attrs import frozen
from hyperlink import EncodedURL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol, Request
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from chime_gateway.net.system.tls import HttpsPolicy
from chime_gateway.net.timer import Timer

#: Time limit for connecting to a host.
_CONNECT_SECONDS: Final = 5.0

#: Maximum size of everything before the body: interim answers, status, headers.
#: Servers and proxies themselves refuse heads of more than 8 to 32 KiB.
MAX_HEAD_BYTES: Final = 32_768

#: A finished connection that the peer has not closed by then is aborted.
_CLOSE_SECONDS: Final = 2.0

#: Maximum size of a read, so that one connection does not delay the others.
_READ_BYTES: Final = 8192


def _ignore() -> None:
    """Does nothing."""


@frozen(eq=False)
class Answer:
    """
    The head of an answer.

    @ivar deliver: delivers the body to a protocol, as it comes.
    @ivar bound: limits the bytes that may still come, framing included, and takes the
        function that is called when there are more.
    @ivar abort: aborts the connection at once.
    """

    code: int
    headers: Headers
    deliver: Callable[[Protocol], None]
    bound: Callable[[int, Callable[[], None]], None]
    abort: Callable[[], None]


class HttpClient:
    """
    A client with a pool of connections.

    @param idle_connections: maximum number of idle connections kept for each host.
    """

    def __init__(self, reactor: Any, idle_connections: int) -> None:
        self._pool = HTTPConnectionPool(reactor)
        connections: Any = partial(_Connections, reactor)
        self._pool._factory = connections
        self._pool.maxPersistentPerHost = idle_connections
        # Callers repeat failed requests themselves.
        self._pool.retryAutomatically = False
        self._agent = Agent(
            reactor, HttpsPolicy(), connectTimeout=_CONNECT_SECONDS, pool=self._pool
        )

    def close(self) -> Deferred[None]:
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Deferred[Answer]:
        """
        Send a request; the Deferred fires with the head of the answer.

        It fails like that of L{Agent.request}, with L{ResponseFailed} for a head that
        is too long.
        """
        address = EncodedURL.from_text(url).to_uri().to_text().encode("ascii")
        said = Headers({name: [text] for name, text in headers.items()})
        if not said.hasHeader("accept-encoding"):
            said.setRawHeaders("accept-encoding", ["gzip"])
        producer = _Body(body) if body else None
        asking: Deferred[Any] = self._agent.request(
            method.encode("ascii"), address, said, producer
        )
        return asking


class HeadTooLong(Exception):
    """The head is longer than the limit; the connection was aborted."""


class BadStatus(Exception):
    """The status does not have three digits (RFC 9110 section 15)."""


class BoundedConnection(HTTP11ClientProtocol):
    """
    One connection, which counts the bytes of each head.

    @param quiescent: called when the connection may be used again.
    """

    transport: Any

    def __init__(
        self, clock: IReactorTime, quiescent: Callable[[object], None] = lambda _: None
    ) -> None:
        super().__init__(quiescent)
        self._head_bytes = 0
        self._is_head_due = False
        self._is_head_too_long = False
        self._left = inf
        self._exceeded: Callable[[], None] = _ignore
        self._closing = Timer(clock)

    def connectionMade(self) -> None:
        super().connectionMade()
        if isinstance(self.transport, Connection):
            self.transport.bufferSize = _READ_BYTES

    def request(self, request: Request) -> Deferred[Any]:
        """Send a request; the Deferred fires with an L{Answer}."""
        self._head_bytes = 0
        self._is_head_due = True
        self._left, self._exceeded = inf, _ignore
        asking: Deferred[IResponse] = super().request(request)
        return asking.addBoth(self._head_came)

    def dataReceived(self, data: bytes) -> None:
        while data and self._is_head_due:
            room = MAX_HEAD_BYTES - self._head_bytes
            if room <= 0:
                if not self._is_head_too_long:
                    self._is_head_too_long = True
                    self.transport.abortConnection()
                return
            piece, data = data[:room], data[room:]
            self._head_bytes += len(piece)
            super().dataReceived(piece)
        self._left -= len(data)
        if self._left < 0:
            self._exceeded()
        elif data:
            super().dataReceived(data)

    def _bound(self, most_bytes: int, exceeded: Callable[[], None]) -> None:
        self._left, self._exceeded = most_bytes, exceeded

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing.stop()
        super().connectionLost(reason)

    def _giveUp(self, reason: Failure) -> None:
        # TLS waits for the peer's close_notify, which may never come.
        self._closing.start(_CLOSE_SECONDS, self.transport.abortConnection)
        super()._giveUp(reason)

    def _head_came(self, result: IResponse | Failure) -> Answer:
        self._is_head_due = False
        if not isinstance(result, Failure):
            if not 100 <= result.code <= 999:
                self.transport.abortConnection()
                why = Failure(BadStatus("its status does not have three digits"))
                raise ResponseFailed([why], result)
            abort = self.transport.abortConnection
            deliver = result.deliverBody
            return Answer(result.code, result.headers, deliver, self._bound, abort)
        if self._is_head_too_long:
            text = f"its head is longer than {MAX_HEAD_BYTES} bytes"
            raise ResponseFailed([Failure(HeadTooLong(text))])
        return result  # type: ignore[return-value]


class _Connections:
    """The pool's factory of connections."""

    def __init__(
        self, clock: IReactorTime, quiescent: Callable[[object], None], metadata: str
    ) -> None:
        self._clock = clock
        self._quiescent = quiescent

    def doStart(self) -> None:
        """Does nothing."""

    doStop = doStart

    def buildProtocol(self, addr: object) -> BoundedConnection:
        return BoundedConnection(self._clock, self._quiescent)


@implementer(IBodyProducer)
class _Body:
    """A body that is complete in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Does nothing: the body was written at once."""

    resumeProducing = stopProducing = pauseProducing
