"""The simulated service over WebRTC on real sockets: loss, TCP, many calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection

from chime_gateway.audio import PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.reading import with_fault
from chime_gateway.sim.realtime.server import Door, SimulatorFactory
from chime_gateway.sim.realtime.voices import Parrot
from tests.integration.harness import Peer
from tests.support.base import ReactorTestCase
from tests.support.webrtc_client import KEY, Client

#: The approximate duration; see tests/run.py.
seconds = 10

QUIET_FRAME = PCMU.silence(160)


class UdpWire(DatagramProtocol):
    """A socket for a client whose clock the test advances."""

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.sent: list[tuple[bytes, Any]] = []
        self.udp = self
        self.remote: Any = None

    def open(self, remote: tuple[str, int]) -> None:
        self.remote = remote
        self._reactor.listenUDP(0, self, interface="127.0.0.1")

    def close(self) -> None:
        assert self.transport is not None
        self.transport.stopListening()

    def datagramReceived(self, data: bytes, address: Any) -> None:
        assert self.transport is not None
        if address == self.remote:
            self.sent.append((data, address))
        else:
            self.transport.write(data, self.remote)  # the client's own packet

    def taken(self, address: Any = None) -> list[bytes]:
        sent, self.sent = self.sent, []
        return [data for data, _ in sent]


class TcpWire(Protocol):
    """Datagrams over a connection (RFC 4571)."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.udp = self
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 2:
            end = 2 + int.from_bytes(self._data[:2], "big")
            if len(self._data) < end:
                break
            self.sent.append((self._data[2:end], None))
            self._data = self._data[end:]

    def datagramReceived(self, data: bytes, address: Any) -> None:
        assert self.transport is not None
        framed = len(data).to_bytes(2, "big") + data
        # Frames need not arrive in one piece.
        self.transport.write(framed[:1])
        self.transport.write(framed[1:])

    def taken(self, address: Any = None) -> list[bytes]:
        sent, self.sent = self.sent, []
        return [data for data, _ in sent]

    def close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class WebRtcServiceTests(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.clients: list[Client] = []

    def serve(self, *faults: str) -> None:
        behaviour = Behaviour()
        for fault in faults:
            behaviour = with_fault(behaviour, fault)
        self.factory = SimulatorFactory(
            Parrot,
            reactor=self.reactor,
            behaviour=behaviour,
            door=Door(frozenset({KEY}), frozenset({"d"})),
        )
        self.port = self.reactor.listenTCP(0, self.factory, interface="127.0.0.1")

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._tear_down())

    async def _tear_down(self) -> None:
        for client in self.clients:
            wire: Any = client.reactor
            wire.close()
        await self.port.stopListening()
        await self.until(lambda: not self.is_busy())

    def is_busy(self) -> bool:
        """Return whether sockets are still closing, or Autobahn's timers are set."""
        timers = map(str, self.reactor.getDelayedCalls())
        return any("_BatchedTimer" in one for one in timers) or any(
            isinstance(one, Connection) for one in self.reactor.getReaders()
        )

    async def until(self, is_so: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = self.reactor.seconds() + seconds
        while not is_so():
            if self.reactor.seconds() > deadline:
                self.fail(f"not within {seconds} s")
            await deferLater(self.reactor, 0.005)

    def client(self) -> Client:
        """Make a client with a call, still without a socket."""
        client = Client()
        client.factory = self.factory
        client.dial()
        self.clients.append(client)
        return client

    def over_udp(self) -> Client:
        client = self.client()
        wire: Any = UdpWire(self.reactor)
        client.reactor = wire
        wire.open(("127.0.0.1", self.port_of(client, "udp")))
        return client

    async def over_tcp(self) -> Client:
        client = self.client()
        number = self.port_of(client, "tcp")
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", number)
        wire: Any = await endpoint.connect(Factory.forProtocol(TcpWire))
        client.reactor = wire
        return client

    def port_of(self, client: Client, kind: str) -> int:
        values = [value.split() for value in client.answer["candidate"]]
        return next(int(words[5]) for words in values if words[2] == kind)

    async def connect(self, client: Client) -> None:
        client.accept()
        client.reactor.udp.datagramReceived(client.request(), None)
        await self.until(lambda: self.pumped(client) and client.call.is_connected)

    def pumped(self, client: Client) -> bool:
        """Process received packets, and retransmit what is due."""
        client.hear()
        with contextlib.suppress(SSL.Error):
            client.again()
        return client.keys is not None

    async def talk(self, client: Client, audio: bytes) -> bytes:
        heard = b""
        for at in range(0, len(audio), 160):
            packet = client.packet(audio[at : at + 160])
            client.reactor.udp.datagramReceived(packet, None)
            await deferLater(self.reactor, 0.01)
            heard += b"".join(client.hear())
        return heard

    async def test_lost_dtls_is_retransmitted(self) -> None:
        # With this seed the first flight is lost.
        self.serve("dtls_loss=25", "dtls_seed=4")
        client = self.over_udp()
        await self.connect(client)
        heard = await self.talk(client, QUIET_FRAME * 20)
        self.assertTrue(heard)
        self.assertEqual(len(client.call.session.log.appended), 20 * 160)

    async def test_with_blocked_udp_everything_goes_over_tcp(self) -> None:
        self.serve("udp_blocked")
        blocked = self.over_udp()
        for _ in range(3):
            blocked.reactor.udp.datagramReceived(blocked.request(), None)
        client = await self.over_tcp()
        await self.connect(client)
        audio = tone(PCMU, 500, 0.4)
        heard = await self.talk(client, audio + QUIET_FRAME * 20)
        self.assertTrue(heard)
        self.assertIn(audio, bytes(client.call.session.log.appended))
        self.assertEqual(blocked.reactor.taken(), [])

    async def test_two_hundred_calls_share_a_port_and_leave_nothing(self) -> None:
        self.serve()
        clients = [self.over_udp() for _ in range(200)]
        for client in clients:
            await self.connect(client)
        ports = {client.answer["candidate"][0].split()[5] for client in clients}
        self.assertEqual(len(ports), 1)
        for number, client in enumerate(clients):
            payload = bytes([number]) * 160
            client.reactor.udp.datagramReceived(client.packet(payload), None)
        await self.until(
            lambda: all(client.call.session.log.appended for client in clients)
        )
        for number, client in enumerate(clients):
            found = bytes(client.call.session.log.appended)
            self.assertEqual(found, bytes([number]) * 160)
        await self.until(lambda: all(client.hear() for client in clients))
        for client in clients:
            client.call.end("hung up")
        self.assertEqual(self.factory.webrtc().calls, {})
        await self.until(lambda: all(self.is_closed(client) for client in clients))

    def is_closed(self, client: Client) -> bool:
        client.hear()
        return client.is_closed

    async def test_a_sideband_gets_the_events_of_its_call(self) -> None:
        self.serve()
        client = self.over_udp()
        await self.connect(client)
        number = self.port.getHost().port
        url = f"ws://127.0.0.1:{number}/openai/v1/realtime?call_id={client.call.id}"
        factory = WebSocketClientFactory(
            url, headers={"api-key": KEY}, reactor=self.reactor
        )
        factory.protocol = Peer
        factory.opened = Deferred()
        await TCP4ClientEndpoint(self.reactor, "127.0.0.1", number).connect(factory)
        sideband: Peer = await factory.opened
        await self.talk(client, tone(PCMU, 500, 0.4) + QUIET_FRAME * 40)
        await self.until(lambda: "response.done" in self.kinds(sideband))
        self.assertEqual(self.kinds(sideband)[0], "session.created")
        self.assertNotIn("response.output_audio.delta", self.kinds(sideband))
        client.call.end("hung up")
        code, _ = await sideband.closed
        self.assertEqual(code, 1000)

    def kinds(self, sideband: Peer) -> list[str]:
        return [str(event["type"]) for event in sideband.messages]
