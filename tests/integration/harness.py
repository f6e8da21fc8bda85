"""The real service and the simulators on loopback, for tests with sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import evolve
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection

from chime_gateway.app.gateway import GatewayService
from chime_gateway.settings.values import DeploymentSettings, GatewaySettings, Limits
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.server import Door, SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot, Voice
from tests.support.base import ReactorTestCase

KEY = "azure-key"
ADMIN_TOKEN = "admin-token-of-the-harness"


class Peer(WebSocketClientProtocol):  # type: ignore[misc]
    """A hand-driven carrier."""

    def onOpen(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.messages: list[Any] = []
        self.audio = b""
        self.closed: Deferred[tuple[int | None, str | None]] = Deferred()
        self.factory.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.messages.append(payload if isBinary else json.loads(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.factory.opened.called:
            self.closed.callback((code, reason))
        else:
            self.factory.opened.errback(ConnectionRefusedError(self.wasNotCleanReason))

    def say(self, event: str, /, **members: Any) -> None:
        self.sendMessage(json.dumps({"event": event, **members}).encode())

    def start(self, **start: Any) -> None:
        self.say("start", streamSid="MZ", start={"streamSid": "MZ", **start})


class GatewayTestCase(ReactorTestCase):
    """
    A test with a gateway and the simulated service.

    @ivar simulator: the service that the gateway uses.
    @cvar refuses_when_busy: overload of the machine makes the gateway refuse calls.
    """

    refuses_when_busy = False

    behaviour = Behaviour()
    door = Door(api_keys=frozenset({KEY}))
    fragment_bytes: int | None = None
    limits = Limits(agent_connect_seconds=3.0, goodbye_seconds=2.0, drain_seconds=0.5)
    settings = GatewaySettings(
        listen=("tcp:0:interface=127.0.0.1",),
        deployments=(),
        limits=limits,
        admin_token=ADMIN_TOKEN,
    )
    new_voice: Callable[[], Voice] = staticmethod(Parrot)

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.simulator = SimulatorFactory(
            self.new_voice,
            reactor=reactor,
            behaviour=self.behaviour,
            door=self.door,
            fragment_bytes=self.fragment_bytes,
        )
        agent_port: Any = self.reactor.listenTCP(
            0, self.simulator, interface="127.0.0.1"
        )
        self.addCleanup(agent_port.stopListening)
        endpoint = f"http://127.0.0.1:{agent_port.getHost().port}"
        settings = self.gateway_settings(endpoint)
        if not self.refuses_when_busy:
            limits = evolve(settings.limits, max_cpu=100.0, max_late_seconds=100.0)
            settings = evolve(settings, limits=limits)
        self.gateway = GatewayService(settings, reactor)
        self.gateway.startService()
        port: Any = self.gateway.ports[-1].getHost()
        self.port: int = port.port
        self.peers: list[Peer] = []

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        deployment = DeploymentSettings(
            name="sim", endpoint=endpoint, deployment="sim", api_key=KEY
        )
        return evolve(self.settings, deployments=(deployment,))

    def new_second(self) -> tuple[SimulatorFactory, DeploymentSettings]:
        """Start a healthy service over the WebSocket, as a second deployment."""
        service = SimulatorFactory(
            Parrot, reactor=self.reactor, api_keys=frozenset({KEY})
        )
        port: Any = self.reactor.listenTCP(0, service, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return service, DeploymentSettings(
            name="second",
            endpoint=f"http://127.0.0.1:{port.getHost().port}",
            deployment="sim",
            api_key=KEY,
            priority=2,
        )

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._tear_down())

    async def _tear_down(self) -> None:
        self.gateway.calls.hang_up_all()
        for peer in self.peers:
            peer.dropConnection(abort=True)
        await self.gateway.stopService()
        await self.until(lambda: not self.is_busy())

    def is_busy(self) -> bool:
        """Return whether sockets are still closing, or Autobahn's timers are set."""
        timers = [str(call) for call in self.reactor.getDelayedCalls()]
        return any(isinstance(r, Connection) for r in self.reactor.getReaders()) or any(
            "_BatchedTimer" in timer for timer in timers
        )

    def url(self, path: str = "/stream") -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    async def dial(self, path: str = "/stream", **headers: str) -> Peer:
        """
        @raise ConnectionRefusedError: the upgrade was refused; the text has the
            status.
        """
        factory = WebSocketClientFactory(
            self.url(path),
            headers={name.replace("_", "-"): v for name, v in headers.items()},
            reactor=self.reactor,
        )
        factory.protocol = Peer
        factory.opened = Deferred()
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        await endpoint.connect(factory)
        peer: Peer = await factory.opened
        self.peers.append(peer)
        return peer

    async def get(self, path: str, token: str = ADMIN_TOKEN) -> tuple[int, str]:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        protocol: Any = await endpoint.connect(Factory.forProtocol(Page))
        shown = f"Authorization: Bearer {token}\r\n" if token else ""
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{shown}\r\n"
        protocol.transport.write(head.encode())
        text = (await protocol.done).decode()
        head, _, body = text.partition("\r\n\r\n")
        return int(head.split()[1]), body

    async def pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    async def until(self, is_so: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait for a condition; fail after the time limit."""
        deadline = self.reactor.seconds() + seconds
        while not is_so():
            if self.reactor.seconds() > deadline:
                self.fail(f"not within {seconds} s")
            await self.pause(0.005)


class Page(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(self.data)
