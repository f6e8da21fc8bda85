"""
A SIP gateway in memory that consists of several processes, one after another, with
their shared sockets and the channels between them.

Messages between processes are kept until the test delivers them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from chime_gateway.carriers.sip.generations.marks import marked
from chime_gateway.carriers.sip.transport.connections import Connection
from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.kin import Kin, Peer
from chime_gateway.rtp.ports import Address
from tests.support.sip_peer import HOST, PEER, SipWorld

#: The way of a message: UDP, or a connection.
Where = str


class Pipe:
    """One direction between an older process and the newest (L{Channel})."""

    def __init__(self) -> None:
        self.waiting: deque[Message] = deque()
        self.is_open = True
        self.is_full = False

    def send(
        self, kind: str, head: Mapping[str, Any] | None = None, body: bytes = b""
    ) -> bool:
        if not self.is_open or self.is_full:
            return False
        data = Message(kind, head or {}, body).to_bytes()
        self.waiting.append(Message.of_bytes(data))
        return True


class Wire(StringTransport):
    """One connection of a peer, held by any of the processes."""

    def __init__(self, name: Where, out: Callable[[Where, bytes], None]) -> None:
        super().__init__()
        self.name = name
        self._out = out
        self.protocol: Connection

    def getPeer(self) -> Any:
        class Peer_:
            host, port = PEER[0], 40_000

        return Peer_

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def write(self, data: bytes) -> None:
        if not self.disconnecting:
            self._out(self.name, data)

    def loseConnection(self) -> None:
        self.disconnecting = True

    abortConnection = loseConnection

    def end(self) -> None:
        self.disconnecting = True
        self.protocol.connectionLost(Failure(ConnectionDone()))


class SipGateway:
    """
    The gateway.

    @param make: makes the carrier of a generation.
    @ivar worlds: one for each process, oldest first; C{None}: it is gone.
    @ivar out: what the peer received, and on which way, in order.
    """

    def __init__(self, make: Callable[[str], SipWorld]) -> None:
        self._make = make
        self.out: list[tuple[Where, bytes]] = []
        self.wires: list[Wire] = []
        self.worlds: list[SipWorld | None] = []
        self._pipes: dict[str, tuple[Pipe, Pipe]] = {}
        self._seconds = 0.0
        self._tokens = count(1)
        self._begin()

    @property
    def newest(self) -> SipWorld:
        world = self.worlds[-1]
        assert world is not None
        return world

    def there(self) -> list[SipWorld]:
        return [world for world in self.worlds if world is not None]

    def _begin(self) -> SipWorld:
        world = self._make(f"gen{len(self.worlds)}")
        gateway = self

        def refuse(*_: object) -> None:
            raise ConnectionRefusedError("nobody listens there")

        class Sent(list[tuple[bytes, Address]]):
            def append(self, one: tuple[bytes, Address]) -> None:
                gateway.out.append(("udp", one[0]))

        transports: Any = world.carrier.transports
        transports._open = refuse
        # Tokens of all processes have the same length and one common sequence.
        world.carrier.context.new_token = marked(world.kin.generation, self._token)
        world.reactor.sent = Sent()
        world.reactor.advance(self._seconds)
        self.worlds.append(world)
        return world

    def _token(self) -> str:
        return f"token{next(self._tokens):06}"

    # -- processes ---------------------------------------------------------------

    def _peer(self, kin: Kin, generation: str, pipe: Pipe) -> Peer:
        peer = Peer(generation, 0, self.newest.reactor)
        peer.channel = pipe  # type: ignore[assignment]
        return peer

    def take_over(self) -> None:
        """Start a successor of the newest process, which reads from now on."""
        old = self.newest
        older = self.there()[:-1]
        new = self._begin()
        up, down = self._pipes[old.kin.generation] = Pipe(), Pipe()
        to_new = self._peer(old.kin, new.kin.generation, up)
        of_old = self._peer(new.kin, old.kin.generation, down)
        old.kin.call(old.kin.handing_over, to_new)
        while up.waiting:
            new.kin._received(of_old, up.waiting.popleft())
        for world in older:
            generation = world.kin.generation
            _, down_there = self._pipes[generation]
            new.kin.older[generation] = self._peer(new.kin, generation, down_there)
        new.kin.older[old.kin.generation] = of_old
        old.kin.newest = to_new
        for world in older:
            up, _ = self._pipes[world.kin.generation]
            world.kin.newest = self._peer(world.kin, new.kin.generation, up)
        for world in (*older, old):
            assert world.kin.newest is not None
            world.kin.call(world.kin.newest_changed, world.kin.newest)

    def dies(self, number: int) -> None:
        """End an older process, with its calls and its connections."""
        world = self.worlds[number]
        assert world is not None
        self.worlds[number] = None
        generation = world.kin.generation
        up, down = self._pipes.pop(generation)
        up.is_open = down.is_open = False
        peer = self.newest.kin.older[generation]
        while up.waiting:
            self.newest.kin._received(peer, up.waiting.popleft())
        del self.newest.kin.older[generation]
        self.newest.kin.call(self.newest.kin.older_gone, peer)

    def deliver(self) -> None:
        """Deliver all messages between processes, and the replies to them."""
        while any(up.waiting or down.waiting for up, down in self._pipes.values()):
            for world in self.there()[:-1]:
                self.deliver_of(world)

    def deliver_of(self, world: SipWorld, most: int = 1_000) -> None:
        generation = world.kin.generation
        up, down = self._pipes[generation]
        for _ in range(most):
            if up.waiting:
                kin = self.newest.kin
                kin._received(kin.older[generation], up.waiting.popleft())
            if down.waiting:
                assert world.kin.newest is not None
                world.kin._received(world.kin.newest, down.waiting.popleft())

    def pipes(self, number: int) -> tuple[Pipe, Pipe]:
        """Return the pipes to the newest process, and from it."""
        return self._pipes[f"gen{number}"]

    # -- the peer ----------------------------------------------------------------

    def say(self, data: bytes | str, wire: Wire | None = None) -> None:
        """Send a message by UDP, or by a connection."""
        raw = data.encode() if isinstance(data, str) else data
        if wire is None:
            self.newest.say(raw)
        elif not wire.disconnecting:
            wire.protocol.dataReceived(raw)

    def connect(self) -> Wire:
        """Open a connection to the process that accepts connections now."""
        wire = Wire(f"wire{len(self.wires)}", self._heard)
        streams = self.newest.carrier.transports.streams
        wire.protocol = Connection("tcp", streams)
        wire.protocol.makeConnection(wire)
        self.wires.append(wire)
        return wire

    def _heard(self, where: Where, data: bytes) -> None:
        self.out.append((where, data))

    def advance(self, seconds: float, step: float = 0.02) -> None:
        whole = int(seconds / step)
        for one in (*[step] * whole, max(0.0, seconds - whole * step)):
            self._seconds += one
            for world in self.there():
                world.reactor.advance(one)
            self.deliver()

    @property
    def host(self) -> str:
        return HOST
