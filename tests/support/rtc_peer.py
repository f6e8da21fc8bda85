"""A WebRTC carrier with peers that the test drives by hand, behind a real site."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from chime_gateway.carriers.media_stream.credentials import StreamAuth
from chime_gateway.carriers.media_stream.door import Door
from chime_gateway.carriers.webrtc.carrier import WebRtcCarrier
from chime_gateway.http.site import GatewaySite
from chime_gateway.media.metronome import Metronome
from chime_gateway.net.generations.kin import Kin
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.rtp.keys import AES_128_TAG_80, SrtpKeys
from chime_gateway.rtp.ports import Address, Received
from chime_gateway.settings.listener import Listener
from chime_gateway.settings.webrtc import WebRtcSettings
from chime_gateway.switchboard import Switchboard
from chime_gateway.webrtc.certificate import new_certificate
from chime_gateway.webrtc.peer import PeerUser
from chime_gateway.wire.sdp.transport import Setup, Transport
from chime_gateway.wire.webrtc.candidate import Credentials

CERTIFICATE = new_certificate()
KEYS = SrtpKeys(AES_128_TAG_80, bytes(range(30)), bytes(range(30, 60)))
SECRET = "a secret of the tests"
SETTINGS = WebRtcSettings(
    listen=(Listener(transport="udp", port=3478),), public_address="198.51.100.204"
)


class FakePeer:
    """
    A fake peer.

    @ivar sent: packets that were sent.
    """

    def __init__(
        self, user: PeerUser, received: Received, dropped: Counter[str]
    ) -> None:
        self.user = user
        self.dropped = dropped
        self.received = received
        self.sent: list[bytes] = []
        self.is_started = False
        self.closed = 0
        self.remote: Transport | None = None
        self.fault: Exception | None = None

    @property
    def description(self) -> Transport:
        assert self.remote is not None
        return Transport(
            credentials=Credentials("ours", "ourpasswordourpasswordour"),
            fingerprints=(CERTIFICATE.fingerprint,),
            setup=self.remote.setup.answer(Setup.PASSIVE),
            is_lite=True,
        )

    def start(self) -> None:
        self.is_started = True

    def set_remote(self, transport: Transport) -> None:
        if self.fault is not None:
            raise self.fault
        self.remote = transport

    def send(self, data: bytes, address: Address) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closed += 1

    def connect(self) -> None:
        if not self.closed:
            self.user.peer_connected(KEYS)


class _Port:
    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "0.0.0.0", 3478)

    def stopListening(self) -> None:
        """Do nothing: it was never open."""


class FakeCarrier(WebRtcCarrier):
    """
    A carrier with fake peers.

    @ivar peers: of all calls, the newest last.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.peers: list[FakePeer] = []
        self.fault: Exception | None = None
        port: Any = _Port()
        self.ports.ports.append((Listener(transport="udp", port=3478), port))

    def new_peer(
        self,
        user: PeerUser,
        rtp_received: Received,
        mark: str,
        dropped: Counter[str],
    ) -> FakePeer:
        peer = FakePeer(user, rtp_received, dropped)
        peer.fault = self.fault
        self.peers.append(peer)
        return peer


class _Transport(StringTransport):
    def abortConnection(self) -> None:
        self.loseConnection()


class Answer:
    """A response of the server."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        pairs = (line.partition(": ") for line in lines)
        self.headers = {name.lower(): value for name, _, value in pairs}


class RtcWorld:
    """
    The carrier and its site.

    @ivar carrier: the carrier.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        settings: WebRtcSettings = SETTINGS,
        secret: str = SECRET,
    ) -> None:
        self.clock = clock = Clock()
        self.metronome = metronome = Metronome(clock)
        self.kin = Kin("bcdfgh", clock)
        self.connections = Connections(clock, 100)
        batch: Any = None
        ssrcs = iter(range(1, 1 << 31))
        tokens = iter(range(1 << 31))
        self.carrier = FakeCarrier(
            settings,
            switchboard,
            reactor=clock,
            metronome=metronome,
            wall_time=clock.seconds,
            batch=batch,
            kin=self.kin,
            connections=self.connections,
            certificate=CERTIFICATE,
            new_token=lambda: f"{next(tokens):032x}",
            random32=lambda: next(ssrcs),
        )
        auth = StreamAuth(secret, "", "", clock.seconds)
        door = Door(auth, switchboard, "webrtc", needs_credentials=True)
        self.root = self.carrier.pages(door)
        root = Resource()
        root.putChild(b"webrtc", self.root)
        self.site = GatewaySite(root, clock, self.connections)

    def ask(
        self,
        method: str,
        path: str = "/webrtc/offer",
        body: str | bytes = b"",
        **headers: str,
    ) -> Answer:
        """Send a request on its own connection."""
        transport = _Transport()
        channel = self.site.buildProtocol(None)
        channel.makeConnection(transport)
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"Host": "gw.example", "Connection": "close", **named}
        if data or method == "POST":
            named.setdefault("Content-Length", str(len(data)))
        lines = [f"{name}: {value}" for name, value in named.items()]
        head = "\r\n".join((f"{method} {path} HTTP/1.1", *lines, "", ""))
        channel.dataReceived(head.encode() + data)
        for _ in range(100):
            if transport.disconnecting:
                break
            self.clock.advance(0)
        channel.connectionLost(Failure(ConnectionDone()))
        return Answer(transport.value())

    def offer(self, body: str, path: str = "/webrtc/offer", **headers: str) -> Answer:
        named = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/sdp"}
        return self.ask("POST", path, body, **{**named, **headers})

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            self.clock.advance(0.02)
