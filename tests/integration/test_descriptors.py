"""A gateway that runs out of file descriptors, and gets them back."""

from __future__ import annotations

import os
import resource
from random import Random
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chime_gateway.net.system.descriptors import SPARE
from tests.integration.harness import Peer
from tests.integration.twistd import TwistdTestCase

CONFIG = """
[store]
[agents.default]
greeting = "Hello."
"""


class _Pages(Protocol):
    """A connection for several requests, because a new one may not be accepted."""

    def __init__(self) -> None:
        self.data = b""
        self.waiting: Deferred[str] | None = None

    def get(self, path: str) -> Deferred[str]:
        self.waiting = Deferred()
        assert self.transport is not None
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return self.waiting

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.waiting is not None and not self.waiting.called:
            self.waiting.errback(reason)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.data.endswith(b"}\n") and self.waiting is not None:
            text, self.data = self.data.decode(), b""
            self.waiting.callback(text)


class ExhaustedProcessTests(TwistdTestCase):
    """
    A gateway process without descriptors.

    @ivar port: the gateway's port.
    """

    def setUp(self) -> None:
        super().setUp()
        self.peers: list[Peer] = []

    async def start(self) -> None:
        (self.state / "gw.toml").write_text(CONFIG)
        words = ("--port", "0", "--simulate", "--config", str(self.state / "gw.toml"))
        self.twistd, self.process = await self.run_twistd(
            *words, CHIMEGW_RECORDINGS=str(self.state / "recordings")
        )
        await self.until(lambda: "is ready for calls" in self.twistd.text)
        port = self.twistd.port()
        assert port is not None
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        self.port = port
        pages: Any = await endpoint.connect(Factory.forProtocol(_Pages))
        self.pages = pages
        self.addCleanup(self.hang_up)
        # Ensure that the gateway itself has accepted the connection before the
        # shortage.
        self.assertIn(" 200 ", await self.pages.get("/ready"))

    async def until(self, is_so: Any, seconds: float = 20.0) -> None:
        deadline = self.reactor.seconds() + seconds
        while not is_so():
            if self.reactor.seconds() > deadline:
                self.fail(f"not within {seconds} s: {self.twistd.text[-2000:]}")
            await deferLater(self.reactor, 0.01)

    def hang_up(self) -> None:
        for peer in self.peers:
            peer.dropConnection(abort=True)
        self.pages.transport.loseConnection()

    def leave(self, spare: int | None) -> None:
        """Let the gateway open this number of descriptors more; C{None}: no limit."""
        pid = self.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        free = (number for number in range(10**6) if number not in used)
        limit = hard
        if spare is not None:
            for _ in range(spare + 1):
                limit = next(free)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))

    async def call(self) -> bool:
        """Place a call, and return whether the caller hears an agent."""
        factory = WebSocketClientFactory(
            f"ws://127.0.0.1:{self.port}/stream", reactor=self.reactor
        )
        factory.protocol = Peer
        factory.opened = Deferred()
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        try:
            await endpoint.connect(factory)
            peer: Peer = await factory.opened
        except ConnectionRefusedError:
            return False
        self.peers.append(peer)
        peer.start()

        def is_over() -> bool:
            return peer.closed.called or "media" in [m["event"] for m in peer.messages]

        await self.until(is_over)
        is_answered = not peer.closed.called
        peer.dropConnection(abort=True)
        return is_answered

    def test_it_reports_not_ready_and_recovers(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            await self.start()
            random = Random(58)
            # In the first round nothing has ever been opened; later much is open.
            for spare in (2, random.randrange(3, SPARE), 0, random.randrange(3, SPARE)):
                self.leave(spare)
                ready = await self.pages.get("/ready")
                self.assertIn(" 503 ", ready, spare)
                self.assertIn("out of file descriptors", ready)
                for _ in range(2):
                    self.assertFalse(await self.call())
                self.leave(None)
                self.assertIn(" 200 ", await self.pages.get("/ready"))
                for _ in range(2):
                    self.assertTrue(await self.call(), spare)
            await self.until(lambda: self.twistd.text.count("call.ended") >= 8)
            self.assertNotIn("Traceback", self.twistd.text)

        return Deferred.fromCoroutine(scene())
