"""The socket of a stream: a peer's traffic, and its limits."""

from __future__ import annotations

import base64
import json
from typing import Any

import txaio
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from chime_gateway.carriers.media_stream.credentials import StreamAuth
from chime_gateway.carriers.media_stream.listener import (
    StreamFactory,
    StreamListener,
    StreamResource,
)
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.strangers.summary import LINES, SECONDS
from chime_gateway.wire.media_stream.twilio import TwilioStream
from chime_gateway.wire.websocket_frame import encode_frame
from tests.support.fakes import Log, RecordingSwitchboard

#: Of 10,000 a second, until the time for C{start} is over.
MOST_TAKEN = 4000

KEY = b"\1\2\3\4"
_HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def said(event: str, **members: Any) -> bytes:
    return encode_frame(1, json.dumps({"event": event, **members}).encode(), KEY)


MEDIA = said("media", media={"payload": base64.b64encode(bytes(160)).decode()})
PING = b"\x89\x80" + KEY
ODD = {
    "ping": PING,
    "pong": b"\x8a\x80" + KEY,
    "fragment": b"\x01\x80" + KEY + b"\x80\x80" + KEY,
    "empty message": encode_frame(1, b"", KEY),
    "tiny message": encode_frame(2, b"x", KEY),
    "nonsense": said("x"),
}

#: A handshake, and the messages after it.
BROKEN = (
    (_HANDSHAKE, b"\x81\x02{}"),
    (_HANDSHAKE, b"\x88\x81" + KEY + b"a"),
    (_HANDSHAKE, b"\x88\x84" + b"\0\0\0\0\x03\xe8\xff\xff"),
    (_HANDSHAKE, b"\xff\x80" + KEY),
    (_HANDSHAKE.replace(b"13", b"0"), b""),
    (_HANDSHAKE.replace(b"13", b"9" * 5000), b""),
    (_HANDSHAKE.replace(b"Host: 127.0.0.1", b"Host: [::"), b""),
    (_HANDSHAKE.replace(b"Host: 127.0.0.1", b"Host: a:" + b"9" * 5000), b""),
    (_HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: x"), b""),
    (_HANDSHAKE.replace(b"Upgrade: websocket\r\n", b""), b""),
    (_HANDSHAKE.replace(b"Key: dGhl", b"Key: \xff"), b""),
    (_HANDSHAKE.replace(b"GET /stream", b"POST /stream"), b""),
    (_HANDSHAKE.replace(b"/stream", b"/stream?redirect=http://evil.test"), b""),
    (
        _HANDSHAKE.replace(
            b"/stream", b"/stream?redirect=http://evil.test&after=x"
        ).replace(b"Upgrade: websocket\r\n", b""),
        b"",
    ),
)


class Transport(StringTransport):
    def __init__(self) -> None:
        super().__init__()
        self.is_gone = False

    def abortConnection(self) -> None:
        self.is_gone = True
        self.loseConnection()

    def unregisterProducer(self) -> None:
        self.producer = None


class TrafficTests(SynchronousTestCase):
    def open(self, handshake: bytes = _HANDSHAKE) -> None:
        self.clock = Clock()
        self.patch(txaio.config, "loop", self.clock)
        self.log: Log = []
        connections = Connections(self.clock, 100)
        listener = StreamListener(
            TwilioStream,
            StreamAuth("", "", "", self.clock.seconds),
            RecordingSwitchboard(self.log),
            self.clock,
            5.0,
            False,
            connections,
        )
        self.connections = connections
        factory = StreamFactory(listener, self.clock)
        self.socket = factory.buildProtocol(None)
        self.transport = Transport()
        self.connections.came(self.transport)
        self.socket.makeConnection(self.transport)
        self.socket.dataReceived(handshake)
        if handshake is _HANDSHAKE:
            self.transport.clear()

    def close(self) -> None:
        self.socket.connectionLost(Failure(ConnectionDone()))

    @settings(max_examples=20, deadline=None)
    @given(
        kind=st.sampled_from(sorted(ODD)),
        is_started=st.booleans(),
        at_once=st.integers(1, 700),
        pause=st.floats(0, 0.01),
    )
    def test_any_kind_of_flood_is_ended(
        self, kind: str, is_started: bool, at_once: int, pause: float
    ) -> None:
        self.open()
        if is_started:
            self.socket.dataReceived(said("start", start={"streamSid": "MZ"}))
        frame, sent = ODD[kind], 0
        pause *= at_once / 100  # at least 10,000 a second
        # A close frame with 4400.
        while b"\x11\x30" not in self.transport.value()[-128:]:
            self.assertLess(sent, MOST_TAKEN, "so many frames were taken")
            self.socket.dataReceived(frame * at_once)
            sent += at_once
            self.clock.advance(pause)
        # The peer goes on, and is disconnected soon.
        for _ in range(30):
            self.socket.dataReceived(frame * 50)
            self.clock.advance(0.1)
        self.assertTrue(self.transport.disconnecting)
        self.close()

    def test_credentials_beyond_ascii_are_malformed(self) -> None:
        self.open()
        for value in (b"\xff", b"Bearer \xff\xfe"):
            door = StreamResource(self.socket._listener, self.clock)
            request: Any = DummyRequest([b"stream"])
            request.uri = b"/stream"
            request.getHost = lambda: IPv4Address("TCP", "127.0.0.1", 80)
            request.requestHeaders.setRawHeaders(b"Authorization", [value])
            door.render(request)
            self.assertEqual(request.responseCode, 400)
        self.close()

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.sampled_from(BROKEN), min_size=1, max_size=60))
    def test_malformed_requests_log_a_limited_number_of_lines(
        self, broken: list[tuple[bytes, bytes]]
    ) -> None:
        with capturedLogs() as logged:
            self.open()
            listener = self.socket._listener
            for handshake, frame in broken:
                factory = StreamFactory(listener, self.clock)
                self.socket = factory.buildProtocol(None)
                self.transport = Transport()
                self.socket.makeConnection(self.transport)
                self.socket.dataReceived(handshake)
                self.assertNotIn(b"Location", self.transport.value())
                if frame:
                    self.socket.dataReceived(frame)
                self.close()
            self.clock.advance(SECONDS)
        self.assertLessEqual(len(logged), LINES + 1)

    @given(
        st.sampled_from(("", "?redirect=https://evil.test", "?redirect=x&after=1")),
        st.sampled_from((b"GET", b"HEAD", b"POST")),
    )
    def test_a_plain_request_gets_426_and_no_redirection(
        self, query: str, method: bytes
    ) -> None:
        self.open()
        door = StreamResource(self.socket._listener, self.clock)
        request: Any = DummyRequest([b"stream"])
        request.method, request.uri = method, f"/stream{query}".encode()
        request.getHost = lambda: IPv4Address("TCP", "127.0.0.1", 80)
        request.requestHeaders.setRawHeaders(b"Host", [b"127.0.0.1"])
        self.assertIn(b"over WebSocket", door.render(request))
        self.assertEqual(request.responseCode, 426)
        self.assertFalse(request.responseHeaders.hasHeader(b"Location"))
        self.close()

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(1, 10), min_size=1, max_size=20))
    def test_a_carrier_may_have_ten_times_its_rate(self, factors: list[int]) -> None:
        self.open()
        self.socket.dataReceived(said("start", start={"streamSid": "MZ"}))
        for factor in factors:
            for _ in range(50):
                self.socket.dataReceived(MEDIA * factor)
                self.clock.advance(0.02)
            self.socket.dataReceived(PING * factor)
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual([entry for entry in self.log if entry[0] == "ended"], [])
        self.close()

    def test_a_connection_is_a_strangers_until_its_call_begins(self) -> None:
        self.open()
        self.assertEqual(len(self.connections), 1)
        self.socket.dataReceived(said("start", start={"streamSid": "MZ"}))
        self.assertEqual(len(self.connections), 0)
        self.close()
        self.open()
        self.close()
        self.assertEqual(len(self.connections), 0)
