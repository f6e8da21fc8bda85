"""
Hostile tool and webhook servers: an answer can use only limited resources.

The answers are drawn from a seed.
"""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection

from chime_gateway.net.signed_post import Answer, PostFailed, SignedPost
from tests.support.base import ReactorTestCase

SECONDS = 0.5
MAX_BYTES = 65_536

#: Memory for an answer of MAX_BYTES: the answer, data in transit, and its head.
MOST_MEMORY = 1 << 20

#: Bytes accepted until the connection is closed, without those in socket buffers.
MOST_TAKEN = 8 << 20

PLAIN = b'{"ok":true}'


def bomb(layers: int, size: int) -> bytes:
    data = bytes(size)
    for _ in range(layers):
        data = gzip.compress(data, mtime=0)
    return data


@frozen
class Said:
    """
    An answer.

    @ivar pieces: the parts of the answer; may be endless.
    @ivar is_good: the answer is valid.
    """

    name: str
    pieces: Callable[[], Iterator[bytes]]
    is_good: bool = False


def with_body(name: str, body: bytes, *headers: str, is_good: bool = False) -> Said:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return Said(name, lambda: iter([head, body]), is_good)


def endless(name: str, head: bytes, piece: bytes) -> Said:
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return Said(name, pieces)


def drawn(seed: int) -> list[Said]:
    rng = random.Random(seed)
    known = ["gzip", "GZIP", "x-gzip", "deflate", "br", "identity", "zstd"]
    said = []
    for _ in range(4):
        layers = rng.randint(1, 3)
        names = ", ".join(["gzip"] * layers)
        size = rng.choice([2, 8, 20]) << 20
        body = bomb(layers, size)
        said.append(
            with_body(f"{size} bytes, {names}", body, f"Content-Encoding: {names}")
        )
    for _ in range(4):
        many = ["gzip", "gzip", *rng.choices(known, k=rng.randint(0, 40))]
        lines = [f"Content-Encoding: {name}" for name in many]
        said.append(with_body(f"{many}", bomb(1, 1 << 20), *lines))
    ok = b"HTTP/1.1 200 OK\r\n"
    name = bytes(rng.choices(b"abcdefgh-", k=rng.randint(1, 40)))
    value = bytes(rng.choices(b"xyz ,;=", k=rng.randint(0, 4000)))
    line = b"%s: %s\r\n" % (name, value)
    said += [
        endless("headers", ok, line * max(1, 20_000 // len(line))),
        endless("folded header", ok + line, b" and on\r\n" * 2000),
        endless("one header", ok + b"a: ", b"x" * 20_000),
        endless("interim answers", b"", b"HTTP/1.1 102 On it\r\n\r\n" * 1000),
        endless("no status", b"", b"A" * 20_000),
        endless("body", ok + b"\r\n", bytes(rng.randint(1, 60_000))),
        endless(
            "chunks",
            ok + b"Transfer-Encoding: chunked\r\n\r\n",
            b"1;%s\r\na\r\n" % bytes(rng.choices(b"abc", k=500)) * 50,
        ),
        endless(
            "gzip of nothing",
            ok + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10],
            # Empty stored blocks (RFC 1951 section 3.2.4).
            b"\x00\x00\x00\xff\xff" * 4000,
        ),
        with_body("an honest one", PLAIN, is_good=True),
        with_body(
            "an honest gzip",
            gzip.compress(PLAIN),
            f"Content-Encoding: {rng.choice(['gzip', 'x-gzip', 'GZip'])}",
            is_good=True,
        ),
        with_body(
            "many honest headers",
            PLAIN,
            *(f"X-Header-{n}: {'y' * rng.randint(0, 200)}" for n in range(100)),
            is_good=True,
        ),
    ]
    rng.shuffle(said)
    return said


class Hostile(Protocol):
    """Sends the drawn answer, as fast as it is accepted."""

    def __init__(self, test: HostileAnswerTests) -> None:
        self._test = test
        self._data = b""
        self._pieces: Iterator[bytes] | None = None

    def connectionMade(self) -> None:
        self._test.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if not self._data.endswith(b"{}"):
            return
        self._data = b""
        transport = cast(Any, self.transport)
        self._pieces = self._test.said.pieces()
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        assert self._pieces is not None
        transport = cast(Any, self.transport)
        piece = next(self._pieces, None)
        if piece is None:
            transport.unregisterProducer()
        else:
            self._test.taken += len(piece)
            transport.write(piece)

    def stopProducing(self) -> None:
        self._pieces = iter(())

    def connectionLost(self, reason: object = None) -> None:
        self._test.open.discard(self)


class HostileAnswerTests(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = cast(Any, reactor)
        self.open: set[Hostile] = set()
        self.taken = 0
        factory = cast(Any, Factory())
        factory.buildProtocol = lambda _: Hostile(self)
        self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.post = SignedPost(self.reactor, self.reactor, lambda: 0.0)

    async def ask(self) -> Answer | PostFailed:
        url = f"http://127.0.0.1:{self.port.getHost().port}/"
        try:
            return await self.post.send(
                url, b"{}", message_id="1", seconds=SECONDS, max_bytes=MAX_BYTES
            )
        except PostFailed as exc:
            return exc

    async def meet(self, said: Said) -> None:
        self.said, self.taken = said, 0
        tracemalloc.start()
        try:
            answer = await self.ask()
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        name = said.name
        if said.is_good:
            self.assertIsInstance(answer, Answer, name)
            self.assertEqual(cast(Answer, answer).body, PLAIN, name)
        else:
            self.assertIsInstance(answer, PostFailed, name)
            self.assertLess(len(str(answer)), 300, name)
            await self.until_all_are_closed(name)
        self.assertLess(most, MOST_MEMORY, f"{name}: memory")
        self.assertLess(self.taken, MOST_TAKEN, f"{name}: bytes taken")
        self.assertEqual(self.flushLoggedErrors(), [], name)

    async def until_all_are_closed(self, name: str) -> None:
        most = self.reactor.seconds() + 60.0
        while self.open:
            kept = self.reactor.seconds() > most
            self.assertFalse(kept, f"{name}: the connection is kept")
            await deferLater(self.reactor, 0.01)

    def test_an_answer_takes_only_so_much(self) -> Deferred[None]:
        async def scene() -> None:
            for said in drawn(1):
                await self.meet(said)
            await self.post.close()
            await self.port.stopListening()
            await self.until_all_are_closed("over")
            # The client's sockets close a moment after the server's.
            while any(isinstance(r, Connection) for r in self.reactor.getReaders()):
                await deferLater(self.reactor, 0.01)

        return Deferred.fromCoroutine(scene())
