from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.which import FIRST, Which
from chime_gateway.sim.realtime.server import Door, SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot


class DoorTests(SynchronousTestCase):
    def test_the_handshake_is_checked_in_the_real_order(self) -> None:
        door = Door(frozenset({"k"}), frozenset({"d"}), refuse_status=429)
        ga, preview = "/openai/v1/realtime", "/openai/realtime"
        for uri, headers, status in (
            ("/elsewhere", {}, 404),
            (f"{ga}?model=d", {}, 401),
            (f"{ga}?model=d", {"api-key": "wrong"}, 401),
            (f"{ga}?api-version=1&model=d", {"api-key": "k"}, 401),
            (f"{ga}?model=x", {"api-key": "k"}, 404),
            (ga, {"api-key": "k"}, 404),
            (f"{ga}?model=d", {"authorization": "Bearer k"}, 429),
            (f"{preview}?deployment=d", {"api-key": "k"}, 404),
            (f"{preview}?api-version=1&deployment=d", {"api-key": "k"}, 429),
        ):
            with self.subTest(uri=uri, headers=headers):
                self.assertEqual(door.refusal(uri, headers), status)
        self.assertEqual(Door().refusal(f"{ga}?model=d", {"api-key": "any"}), 0)

    def test_only_the_selected_handshakes_are_refused(self) -> None:
        door = Door(frozenset({"k"}), refuse_status=503, which=Which(2, 3))
        uri = "/openai/v1/realtime?model=d"
        statuses = [door.refusal(uri, {"api-key": "k"}, n) for n in range(1, 5)]
        self.assertEqual(statuses, [0, 503, 503, 0])
        self.assertEqual(door.refusal(uri, {"api-key": "wrong"}, 1), 401)


class Socket(StringTransport):
    is_broken = False
    protocol: Any = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass  # a real socket accepts this without a registered producer

    def abortConnection(self) -> None:
        self.is_broken = True


class HandshakeTests(SynchronousTestCase):
    """The handshake in bytes, as a client sees it."""

    def setUp(self) -> None:
        self.clock = Clock()

    def factory(self, **members: Any) -> SimulatorFactory:
        factory = SimulatorFactory(Parrot, reactor=self.clock, **members)
        factory.startFactory()
        self.addCleanup(factory.stopFactory)
        return factory

    def knock(self, factory: SimulatorFactory, key: str = "k") -> Socket:
        socket = Socket()
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(socket)
        protocol.dataReceived(
            b"GET /openai/v1/realtime?model=d HTTP/1.1\r\nHost: localhost\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"api-key: " + key.encode() + b"\r\n\r\n"
        )
        self.clock.advance(60)
        return socket

    def status(self, socket: Socket) -> bytes:
        return bytes(socket.value()[9:12])

    def test_a_refusal_has_its_status_and_retry_after(self) -> None:
        for status in (401, 403, 404, 429, 500, 503):
            door = Door(frozenset({"k"}), refuse_status=status, retry_after_seconds=7)
            factory = self.factory(door=door)
            with self.subTest(status=status):
                socket = self.knock(factory)
                self.assertEqual(self.status(socket), b"%d" % status)
                self.assertIn(b"Retry-After: 7\r\n", socket.value())
                if status != 401:
                    wrong = self.knock(factory, "wrong")
                    self.assertEqual(self.status(wrong), b"401")
                    self.assertNotIn(b"Retry-After", wrong.value())

    def test_a_door_may_be_silent_or_break_and_then_recover(self) -> None:
        for is_silent in (False, True):
            with self.subTest(is_silent=is_silent):
                door = Door(is_silent=is_silent, breaks=not is_silent, which=FIRST)
                factory = self.factory(door=door)
                first, second = self.knock(factory), self.knock(factory)
                self.assertEqual(first.value(), b"")
                self.assertEqual(first.is_broken, not is_silent)
                self.assertEqual(self.status(second), b"101")
                self.assertIn(b"session.created", second.value())
                self.assertEqual(len(factory.handshakes), 2)

    def test_only_the_selected_sessions_have_faults(self) -> None:
        behaviour = Behaviour(silent_start=True, sessions=Which(1, 2), speed=9.0)
        factory = self.factory(behaviour=behaviour)
        sockets = [self.knock(factory) for _ in range(3)]
        greeted = [b"session.created" in socket.value() for socket in sockets]
        self.assertEqual(greeted, [False, False, True])
        self.assertEqual(behaviour.healthy().speed, 9.0)

    def test_a_client_that_vanishes_during_a_close_leaves_no_timer(
        self,
    ) -> None:
        protocol = self.knock(self.factory()).protocol
        protocol.sendClose(1000, "")
        # The timers use the global reactor, not the factory's clock.
        timers = protocol.factory._batched_timer._buckets
        self.assertEqual(len(timers), 1)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(timers, {})
