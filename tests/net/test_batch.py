from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Collection
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net import batch as module
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.path.socket_path import SocketPath
from tests.support.base import ReactorTestCase


class Echo(Protocol):
    """A connection that the batch reads and writes."""

    def __init__(self, batch: BatchReader, log: list[Any]) -> None:
        self.batch = batch
        self.log = log

    def connectionMade(self) -> None:
        transport = cast(Connection, self.transport)
        self.path = SocketPath(
            transport, self, lambda *_: None, masks=False, max_payload_bytes=100
        )
        self.path.join(self.batch)

    def receive_failed(self) -> None: ...

    def dataReceived(self, data: bytes) -> None:
        if data == b"boom":
            raise ZeroDivisionError("a bug")
        if data == b"bye":
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        self.path.write(b"<" + data)
        self.path.write(b">")

    def connectionLost(self, reason: Any = None) -> None:
        self.path.closed()
        self.log.append("lost")


class Peer(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.wanted: tuple[int, Deferred[bytes]] | None = None
        self.lost: Deferred[None] = Deferred()

    def want(self, size: int) -> Deferred[bytes]:
        self.wanted = (size, Deferred())
        self.dataReceived(b"")
        return self.wanted[1]

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.wanted is not None and len(self.data) >= self.wanted[0]:
            wanted = self.wanted[1]
            if not wanted.called:
                wanted.callback(self.data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class BatchReaderTests(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.log: list[Any] = []
        self.batch = BatchReader(reactor)
        factory: Any = Factory()
        factory.buildProtocol = lambda _: Echo(self.batch, self.log)
        self.port: Any = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    async def connect(self) -> Any:
        endpoint = TCP4ClientEndpoint(
            self.reactor, "127.0.0.1", self.port.getHost().port
        )
        return await endpoint.connect(Factory.forProtocol(Peer))

    def test_many_sockets_are_read_and_answered(self) -> Deferred[None]:
        async def scene() -> None:
            peers = [await self.connect() for _ in range(30)]
            for number, peer in enumerate(peers):
                peer.transport.write(b"%d" % number)
            for number, peer in enumerate(peers):
                expected = b"<%d>" % number
                self.assertEqual(await peer.want(len(expected)), expected)
            await self.leave(peers)

        return Deferred.fromCoroutine(scene())

    async def leave(self, peers: list[Any]) -> None:
        for peer in peers:
            peer.transport.loseConnection()
            await peer.lost
        while len(self.log) < len(peers):
            await self.turn()
        self.assertEqual(self.batch.fileno(), -1)

    async def turn(self) -> None:
        waited: Deferred[None] = Deferred()
        self.reactor.callLater(0.001, waited.callback, None)
        await waited

    def test_data_larger_than_the_socket_buffer_arrives_complete(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.connect()
            data = bytes(range(256)) * 20_000
            peer.transport.write(data)
            size = 5_000_000
            await peer.want(size)
            self.assertGreaterEqual(len(peer.data), size)
            await self.leave([peer])

        return Deferred.fromCoroutine(scene())

    def test_a_bug_closes_only_its_own_connection(self) -> Deferred[None]:
        async def scene() -> None:
            broken, whole = await self.connect(), await self.connect()
            broken.transport.write(b"boom")
            await broken.lost
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            whole.transport.write(b"still")
            self.assertEqual(await whole.want(7), b"<still>")
            whole.transport.loseConnection()
            await whole.lost
            while len(self.log) < 2:
                await self.turn()

        return Deferred.fromCoroutine(scene())

    def test_a_connection_may_be_closed_while_it_is_read(self) -> Deferred[None]:
        async def scene() -> None:
            peer = await self.connect()
            peer.transport.write(b"bye")
            await peer.lost
            while not self.log:
                await self.turn()
            self.assertEqual(self.batch.fileno(), -1)

        return Deferred.fromCoroutine(scene())


class Member:
    """
    The socket of one call, which fails in the given places.

    @ivar heard: the data that was read.
    """

    connected = True
    disconnecting = False

    def __init__(self, batch: BatchReader, faults: dict[str, Exception]) -> None:
        self.batch = batch
        self.faults = faults
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.setblocking(False)
        self.heard = self.unsent = b""
        batch.adopt(self)

    def fileno(self) -> int:
        return self.near.fileno()

    def fail(self, where: str) -> None:
        if where in self.faults:
            raise self.faults[where]

    def doRead(self) -> Exception | None:
        data = self.near.recv(100)
        self.heard += data
        self.unsent = data.upper()
        self.batch.out.paths.append(self)
        if "close" in self.faults:
            self.close()  # without notifying the batch
        self.fail("read")
        return CONNECTION_LOST if "lost" in self.faults else None

    def flush(self) -> None:
        self.fail("flush")
        with contextlib.suppress(OSError):  # like a path, which leaves it to Twisted
            self.near.send(self.unsent)

    def connectionLost(self, reason: Failure) -> None:
        self.fail("connectionLost")
        self.close()

    def close(self) -> None:
        self.connected = False
        self.near.close()

    def answered(self) -> bytes:
        try:
            return self.far.recv(100)
        except BlockingIOError:
            return b""


class _FakeReactor:
    """The part of a reactor that the batch needs."""

    def seconds(self) -> float:
        return 0.0

    def addReader(self, reader: Any) -> None: ...
    def removeReader(self, reader: Any) -> None: ...


#: Exceptions that code may raise in any place.
EXCEPTIONS = (OSError, OverflowError, ValueError, KeyError, MemoryError, struct.error)
PLACES = ("read", "lost", "close", "flush", "connectionLost")


class _Slow(Member):
    """A socket whose reads take time."""

    def __init__(self, batch: BatchReader, clock: Clock, seconds: float) -> None:
        super().__init__(batch, {})
        self.clock, self.seconds, self.reads = clock, seconds, 0

    def doRead(self) -> Exception | None:
        self.reads += 1
        self.clock.advance(self.seconds)
        return None  # nothing was read, so it stays readable


class _FakeReactorClock(Clock):
    def addReader(self, reader: Any) -> None: ...
    def removeReader(self, reader: Any) -> None: ...


class FloodTests(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.floats(0.0001, 0.02), min_size=1, max_size=12))
    def test_turns_are_short_and_every_socket_gets_its_turn(
        self, seconds: list[float]
    ) -> None:
        clock = _FakeReactorClock()
        batch = BatchReader(clock)
        members = [_Slow(batch, clock, each) for each in seconds]
        for member in members:
            member.far.send(b"more")
        for _ in range(3 * len(members)):
            began = clock.seconds()
            batch.doRead()
            took = clock.seconds() - began
            self.assertLess(took, module._MAX_SECONDS + max(seconds) + 1e-9)
        # Each turn continues where the last one had to stop.
        self.assertGreaterEqual(min(member.reads for member in members), 3)
        batch.connectionLost(Failure(CONNECTION_LOST))
        for member in members:
            member.near.close()
            member.far.close()


class _OutOfMemory:
    """
    A batch's log and epoll set, which can run out of memory.

    @ivar lacks: the operations that raise L{MemoryError} now.
    """

    def __init__(self) -> None:
        self.lacks: Collection[str] = ()
        self.epoll: Any = None

    def fail(self, what: str) -> None:
        if what in self.lacks:
            raise MemoryError

    def failure(self, *_: Any) -> None:
        self.fail("log")

    def poll(self, *arguments: Any) -> Any:
        self.fail("poll")
        return self.epoll.poll(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.epoll, name)


class FaultTests(SynchronousTestCase):
    """If one call fails, the others are still read and answered."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(PLACES), st.sampled_from(EXCEPTIONS), max_size=3
            ),
            min_size=2,
            max_size=8,
        )
    )
    def test_an_exception_of_one_call_never_stops_the_others(
        self, schedule: list[dict[str, type[Exception]]]
    ) -> None:
        batch = BatchReader(_FakeReactor())
        members = [
            Member(batch, {where: kind(where) for where, kind in faults.items()})
            for faults in [*schedule, {}]
        ]
        whole = [member for member in members if not member.faults]
        for round_ in (b"a", b"b", b"c"):
            for member in members:
                with contextlib.suppress(OSError):
                    member.far.send(round_)
            batch.doRead()
            self.assertEqual(
                [m.answered() for m in whole], [round_.upper()] * len(whole)
            )
        batch.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual([m.connected for m in whole], [False] * len(whole))
        self.assertEqual((batch.fileno(), batch._by_fd, batch._fds), (-1, {}, {}))
        for member in members:
            member.near.close()
            member.far.close()
        self.flushLoggedErrors(*EXCEPTIONS)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sets(st.sampled_from(("log", "poll", "failure"))),
                st.sets(st.sampled_from(sorted({*PLACES} - {"close"}))),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def test_without_memory_no_socket_is_left_unread(
        self, rounds: list[tuple[set[str], set[str]]]
    ) -> None:
        """In each round some operations lack memory; at its end they have it again."""
        batch = BatchReader(_FakeReactor())
        lacking = _OutOfMemory()
        batch._log = cast(Any, lacking)

        def failure(why: BaseException) -> Failure:
            lacking.fail("failure")
            return Failure(why)

        restore = self.patch(module, "Failure", failure)
        whole = Member(batch, {})
        lacking.epoll, batch._epoll = batch._epoll, cast(Any, lacking)
        for lacks, places in rounds:
            lacking.lacks = lacks
            faulty = Member(batch, {where: MemoryError() for where in places})
            for member in (faulty, whole):
                member.far.send(b"a")
            batch.doRead()
            lacking.lacks = ()
            faulty.faults.clear()
            batch.doRead()
            self.assertEqual((whole.answered(), batch.out.is_reading), (b"A", False))
            # It is still read, or was notified that it is lost.
            self.assertEqual(faulty in batch._fds, faulty.connected)
            for end in (faulty.near, faulty.far):
                batch.release(faulty)
                end.close()
        batch.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual((whole.connected, batch.fileno()), (False, -1))
        whole.far.close()
        restore.restore()

    def test_a_reused_descriptor_belongs_to_the_new_socket(self) -> None:
        batch = BatchReader(_FakeReactor())
        old = Member(batch, {})
        old.near.close()  # behind the batch's back
        new = Member(batch, {})
        batch.release(cast(Any, old))
        new.far.send(b"x")
        batch.doRead()
        self.assertEqual(new.heard, b"x")
        batch.release(cast(Any, new))
        for member in (old, new):
            member.close()
            member.far.close()
