"""
The lean path against stock Autobahn at the other end, in memory.
"""

from __future__ import annotations

from typing import Any

import txaio
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.lean_websocket import (
    MAX_OPENING_BYTES,
    STALL_SECONDS,
    LeanWebSocket,
)

LIMIT = 5000


class Lean(LeanWebSocket):
    """The common part of both lean ends of these tests."""

    received: list[tuple[bytes, bool]]
    closed: Any = None
    stalled = False
    failures = 0
    frames = 0
    most_frames = 1 << 20

    def onOpen(self) -> None:
        self.received = []
        self.clock = self.factory.reactor
        self.open_lean_path(lambda *message: self.received.append(message), LIMIT)

    def is_odd_frame_allowed(self) -> bool:
        self.frames += 1
        return self.frames <= self.most_frames

    def receiver_failed(self) -> None:
        self.failures += 1
        self.close(4500, "")

    def socket_lost(self) -> None:
        """Does nothing: C{onClose} is called."""

    def peer_stalled(self) -> None:
        self.stalled = True

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        self.closed = (wasClean, code)


class LeanServer(Lean, WebSocketServerProtocol):  # type: ignore[misc]
    pass


class LeanClient(Lean, WebSocketClientProtocol):  # type: ignore[misc]
    pass


class Plain:
    """Stock Autobahn."""

    received: list[tuple[bytes, bool]]
    pongs: list[bytes]
    closed: Any = None

    def onOpen(self) -> None:
        self.received, self.pongs = [], []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.received.append((payload, isBinary))

    def onPong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        self.closed = (wasClean, code)


class PlainServer(Plain, WebSocketServerProtocol):  # type: ignore[misc]
    pass


class PlainClient(Plain, WebSocketClientProtocol):  # type: ignore[misc]
    pass


class Transport(StringTransport):
    """As tolerant of repeated calls as a real one."""

    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True
        self.loseConnection()

    def unregisterProducer(self) -> None:
        self.producer = None


class PairTestCase(SynchronousTestCase):
    """A client and a server, and the bytes between them."""

    client_class: Any = PlainClient
    server_class: Any = LeanServer

    def setUp(self) -> None:
        self.clock = Clock()
        # Autobahn's timers ignore the factory's reactor and use this one.
        self.patch(txaio.config, "loop", self.clock)
        options = {"failByDrop": False, "maxMessagePayloadSize": LIMIT}
        client = WebSocketClientFactory("ws://gw.test/", reactor=self.clock)
        server = WebSocketServerFactory(reactor=self.clock)
        client.protocol, server.protocol = self.client_class, self.server_class
        client.setProtocolOptions(**options)
        server.setProtocolOptions(**options)
        self.client: Any = client.buildProtocol(None)
        self.server: Any = server.buildProtocol(None)
        self.transports: Any = (Transport(), Transport())
        self.server.makeConnection(self.transports[1])
        self.client.makeConnection(self.transports[0])
        self.flow()
        self.lean, self.plain = self.client, self.server
        if isinstance(self.server, Lean):
            self.lean, self.plain = self.server, self.client

    def flow(self, by: int = 1 << 20) -> None:
        """Carry bytes until there are no more."""
        ends = ((self.transports[0], self.server), (self.transports[1], self.client))
        moved = True
        while moved:
            moved = False
            for transport, receiver in ends:
                data = transport.value()
                transport.clear()
                for start in range(0, len(data), by):
                    receiver.dataReceived(data[start : start + by])
                    moved = True


class LeanServerTests(PairTestCase):
    def test_settings_are_read_from_the_factory_and_not_copied(self) -> None:
        names = set(type(self.lean).CONFIG_ATTRS)
        self.assertEqual(names & vars(self.lean).keys(), set())
        for name in names:
            self.assertEqual(getattr(self.lean, name), getattr(self.lean.factory, name))
        self.assertFalse(hasattr(self.lean, "no_such_setting"))

    def test_messages_pass_in_both_directions(self) -> None:
        for by in (1 << 20, 1, 7):
            with self.subTest(by=by):
                self.lean.received.clear()
                self.plain.received.clear()
                messages = [(b"text", False), (b"\0" * 300, True), (b"", True)]
                for payload, is_binary in messages:
                    self.plain.sendMessage(payload, isBinary=is_binary)
                    self.assertTrue(self.lean.send_message(payload, is_binary))
                self.flow(by)
                self.assertEqual(self.lean.received, messages)
                self.assertEqual(self.plain.received, messages)

    def test_fragments_are_put_together(self) -> None:
        self.plain.sendMessage(b"0123456789" * 50, fragmentSize=7)
        self.plain.sendMessage(b"after")
        self.flow()
        expected = [(b"0123456789" * 50, False), (b"after", False)]
        self.assertEqual(self.lean.received, expected)

    def test_pings_are_answered_between_messages(self) -> None:
        self.plain.sendMessage(b"a")
        self.plain.sendPing(b"are you there")
        self.plain.sendMessage(b"b")
        self.flow()
        self.assertEqual(self.plain.pongs, [b"are you there"])
        self.assertEqual([m for m, _ in self.lean.received], [b"a", b"b"])

    def test_the_peer_closes(self) -> None:
        self.plain.sendMessage(b"last")
        self.plain.sendClose(1000)
        self.flow()
        self.assertEqual(self.lean.received, [(b"last", False)])
        self.assertEqual(self.lean.remoteCloseCode, 1000)
        self.assertNotEqual(self.lean.state, self.lean.STATE_OPEN)

    def test_after_we_close_later_messages_are_ignored(self) -> None:
        self.lean.close(4400, "x" * 500)
        self.plain.sendMessage(b"too late")
        self.flow()
        self.assertEqual(self.lean.received, [])
        self.assertEqual(self.plain.remoteCloseCode, 4400)
        self.assertEqual(len(self.plain.remoteCloseReason), 123)

    def test_both_close_at_once_and_both_codes_arrive(self) -> None:
        self.lean.close(4408, "idle")
        self.plain.sendClose(1000)
        self.flow()
        self.assertEqual(self.plain.remoteCloseCode, 4408)
        self.assertEqual(self.lean.remoteCloseCode, 1000)
        # A reset would overtake the close frame on a real connection.
        self.assertFalse(self.transports[1].aborting)

    def test_after_a_close_nothing_is_sent(self) -> None:
        self.lean.close(1000, "")
        self.transports[1].clear()
        self.transports[0].clear()
        self.lean.send_message(b"x")
        self.assertEqual(self.transports[0].value() + self.transports[1].value(), b"")

    def test_a_message_over_the_limit_is_a_violation_with_its_code(self) -> None:
        self.plain.maxMessagePayloadSize = 0
        self.plain.sendMessage(b"x" * (LIMIT + 1))
        self.flow()
        self.assertEqual(self.plain.remoteCloseCode, 1009)
        self.assertEqual(self.lean.received, [])

    def test_garbage_is_a_violation(self) -> None:
        self.lean.dataReceived(b"\xff" * 20)
        self.flow()
        self.assertEqual(self.plain.remoteCloseCode, 1002)

    def test_a_peer_that_does_not_read_has_stalled(self) -> None:
        self.lean.pauseProducing()
        self.clock.advance(STALL_SECONDS - 1)
        self.lean.resumeProducing()
        self.clock.advance(STALL_SECONDS)
        self.assertFalse(self.lean.stalled)
        self.lean.pauseProducing()
        self.clock.advance(STALL_SECONDS)
        self.assertTrue(self.lean.stalled)

    def test_a_failing_receiver_ends_the_connection_with_a_close_code(self) -> None:
        def fail(*_: object) -> None:
            raise MemoryError

        for parts in (1, 2):
            with self.subTest(parts=parts):
                self.setUp()
                self.lean.receive_by(fail)
                if parts == 1:
                    self.plain.sendMessage(b"x")
                else:
                    self.plain.sendMessage(b"xy" * 4, fragmentSize=4)
                self.flow()
                self.assertEqual(self.lean.failures, 1)
                self.assertEqual(self.plain.remoteCloseCode, 4500)
                self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)

    def test_too_many_pings_and_fragments_end_the_connection(self) -> None:
        self.lean.most_frames = 3
        self.plain.sendPing(b"1")
        self.plain.beginMessage(isBinary=True)
        self.plain.sendMessageFrame(b"half ")
        self.flow()
        self.assertEqual(self.lean.frames, 2)
        for _ in range(5):
            self.plain.sendPing(b"more")
        self.plain.sendMessage(b"never", isBinary=True)
        self.flow()
        self.assertEqual(self.lean.frames, 4)
        self.assertEqual(self.lean.received, [])
        self.assertEqual(self.plain.pongs, [b"1", b"more"])

    def test_a_peer_that_does_not_finish_closing_is_aborted(self) -> None:
        """TLS waits for its close_notify, and it may never read the unsent data."""
        self.lean.dropConnection()
        self.assert_aborted_after_the_stall()

    def test_a_peer_that_announces_closing_but_stays_is_aborted(self) -> None:
        self.plain.dropConnection = lambda abort=False: None
        self.plain.sendClose(1000)
        self.flow()
        self.assert_aborted_after_the_stall()

    def assert_aborted_after_the_stall(self) -> None:
        transport = self.lean.transport
        self.lean.resumeProducing()
        self.clock.advance(STALL_SECONDS - 1)
        self.assertFalse(transport.aborting)
        self.clock.advance(1)
        self.assertTrue(transport.aborting)

    def test_no_timer_is_left_behind(self) -> None:
        self.lean.pauseProducing()
        self.lean.connectionLost(Failure(ConnectionDone()))
        self.plain.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LeanClientTests(LeanServerTests):
    """The same tests with reversed roles: we mask, the peer does not."""

    client_class = LeanClient
    server_class = PlainServer

    def setUp(self) -> None:
        super().setUp()
        self.transports = self.transports[::-1]
        self.client, self.server = self.server, self.client

    def test_every_frame_is_masked_with_another_key(self) -> None:
        keys = set()
        for _ in range(2000):
            self.transports[1].clear()
            self.lean.send_message(b"same")
            frame = self.transports[1].value()
            self.assertEqual(frame[1], 0x80 | 4)
            keys.add(frame[2:6])
        self.assertGreater(len(keys), 1990)


class ClientMemoryTests(PairTestCase):
    client_class = LeanClient

    def test_the_handshake_is_not_kept(self) -> None:
        for end in (self.client, self.server):
            kept = [name for name, value in vars(end).items() if "pgrade" in str(value)]
            self.assertEqual(kept, [])


class EagerPeerTests(PairTestCase):
    client_class = PlainClient
    server_class = LeanServer

    def test_frames_that_come_with_the_handshake_are_not_lost(self) -> None:
        clock = self.clock
        factory = WebSocketServerFactory(reactor=clock)
        factory.protocol = LeanServer
        server: Any = factory.buildProtocol(None)
        server.makeConnection(Transport())
        handshake = (
            b"GET / HTTP/1.1\r\nHost: gw.test\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        frame = bytes.fromhex("818537fa213d7f9f4d5158")
        server.dataReceived(handshake + frame + frame[:4])
        server.dataReceived(frame[4:])
        self.assertEqual(server.received, [(b"Hello", False)] * 2)


class EndlessOpeningTests(PairTestCase):
    """A service whose answer to the handshake never ends."""

    def test_it_is_aborted_and_its_data_is_not_kept(self) -> None:
        for size in (1, 100, 4096, 65_536):
            with self.subTest(size=size):
                factory = WebSocketClientFactory("ws://gw.test/", reactor=self.clock)
                factory.protocol = LeanClient
                client: Any = factory.buildProtocol(None)
                transport = Transport()
                client.makeConnection(transport)
                client.dataReceived(b"HTTP/1.1 101 Switching Protocols\r\n")
                taken = 0
                while not transport.disconnecting and taken < 1 << 20:
                    client.dataReceived(b"a" * size)
                    taken += size
                self.assertLessEqual(taken, MAX_OPENING_BYTES + size)
                self.assertTrue(transport.aborting)
                client.dataReceived(b"a" * 65_536)
                self.assertLess(len(client.data or b""), 1 << 17)
                client.connectionLost(Failure(ConnectionDone()))
