from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.sideband import RETRY_SECONDS, Sideband
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.errors import AgentUnavailable


class Session:
    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []

    def opened(self, socket: Any) -> None:
        self.log.append(("opened", socket))

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        self.log.append(("message", payload))

    def frame_came(self) -> bool:
        return False

    def socket_closed(self, reason: str) -> None:
        self.log.append(("closed", reason))

    def socket_stalled(self) -> None:
        self.log.append(("stalled",))

    def handshake_failed(self, why: AgentUnavailable) -> None:
        self.log.append(("failed", str(why)))


class Socket:
    def __init__(self) -> None:
        self.closed: list[int] = []

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)


class SidebandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.session = Session()
        self.users: list[Any] = []
        self.given_up = 0
        self.sideband = Sideband(self.session, self.dial, self.clock)
        self.sideband.open()

    def dial(self, user: Any) -> Callable[[], None]:
        self.users.append(user)

        def give_up() -> None:
            self.given_up += 1

        return give_up

    def refuse(self, status: int = 404) -> None:
        user = self.users[-1]
        user.handshake_failed(HandshakeRefused(status, f"HTTP {status}", None))
        # Its connection is closed as well.
        user.socket_closed("closed")

    def test_an_attempt_that_is_too_early_is_repeated(self) -> None:
        self.refuse()
        self.refuse()
        self.assertEqual(len(self.users), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.users), 2)
        socket: Any = Socket()
        self.users[-1].opened(socket)
        self.users[-1].message_received(b"x", False)
        self.assertFalse(self.users[-1].frame_came())
        self.users[-1].socket_closed("over")
        self.users[-1].socket_closed("over")
        expected = [("opened", socket), ("message", b"x"), ("closed", "over")]
        self.assertEqual(self.session.log, expected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_number_of_attempts_is_limited(self) -> None:
        while not self.session.log and self.clock.seconds() < 60.0:
            self.refuse()
            self.clock.advance(0.05)
            while self.clock.getDelayedCalls():
                self.clock.advance(0.05)
        self.assertEqual(self.session.log, [("failed", "HTTP 404")])
        self.assertLess(self.clock.seconds(), RETRY_SECONDS + 1.0)
        self.assertLess(len(self.users), 12)

    def test_an_unauthorised_attempt_is_not_repeated(self) -> None:
        self.refuse(401)
        self.assertEqual(self.session.log, [("failed", "HTTP 401")])
        self.clock.advance(60.0)
        self.assertEqual(len(self.users), 1)

    def test_a_socket_that_opens_after_closing_is_closed(self) -> None:
        self.sideband.close()
        self.assertEqual(self.given_up, 1)
        socket: Any = Socket()
        self.users[-1].opened(socket)
        self.assertEqual(socket.closed, [1000])
        self.users[-1].message_received(b"x", False)
        self.users[-1].socket_closed("over")
        self.assertEqual(self.session.log, [])

    def test_closing_during_a_pause_stops_the_attempts(self) -> None:
        self.refuse()
        self.sideband.close()
        self.clock.advance(60.0)
        self.assertEqual(len(self.users), 1)
        self.assertEqual(self.session.log, [])
