"""A media socket with TLS in memory: a path at one end, OpenSSL at the other."""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chime_gateway.net.path.tls_path import TlsPath
from chime_gateway.wire.websocket_frame import (
    OPCODE_BINARY,
    OPCODE_TEXT,
    FrameReader,
    encode_frame,
)
from tests.support.certificates import self_signed
from tests.support.openssl_peer import MISSING, TLS_1_3, OpensslPeer
from tests.support.path_pair import LIMIT, PathPair

#: The first data of the peer, and an answer that Twisted sends itself: the path opens
#: between them, as after a WebSocket's handshake.
OPENING = b"GET /"
ANSWER = b"101 "

KEY = b"\x01\x02\x03\x04"


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Connections:
    """Makes connections of either role, without checking certificates."""

    def __init__(self, certificate: str) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.use_certificate_file(certificate)
        self.context.use_privatekey_file(certificate)

    def clientConnectionForTLS(self, _: Any) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        connection.set_connect_state()
        return connection

    def serverConnectionForTLS(self, _: Any) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        connection.set_accept_state()
        return connection


@cache
def _certificate() -> bytes:
    return self_signed()


class TlsPair(PathPair):
    """
    A path and its peer, with TLS.

    @param is_client: the path is the client, and the peer the server.
    @param shortest: the peer, a client, wants records of at most 512 bytes.
    @ivar held: records of the peer that are not sent yet.
    """

    tls: Any

    def __init__(
        self,
        version: int,
        *,
        is_client: bool,
        small: bool = False,
        shortest: bool = False,
        beside: PathPair | None = None,
    ) -> None:
        super().__init__(masks=is_client, small=small, beside=beside)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(_certificate())
            file.flush()
            self.peer = OpensslPeer(
                version,
                file.name if is_client else None,
                shortest=shortest and not is_client,
            )
            connections = Connections(file.name)
        factory = TLSMemoryBIOFactory(
            connections, is_client, Factory(), clock=self.reactor
        )
        self.tls = factory.protocol(factory, self.owner)
        self.owner.path = None
        self.owner.opening = self._opened
        self.tcp.protocol = self.tls
        self.tls.makeConnection(self.tcp)
        self.held = b""

    def _opened(self, data: bytes) -> bytes:
        """The handshake has ended; data that came with it is still unread."""
        self.tls.write(ANSWER)
        self.path = TlsPath(
            self.tls,
            self.owner,
            self.owner.receive,
            masks=self.masks,
            max_payload_bytes=LIMIT,
        )
        self.owner.path = self.path
        self.path.join(self.batch)
        self.tls.registerProducer(self.owner, True)
        return data[len(OPENING) :]

    def open(self) -> None:
        """Run until the path is open and the answer is being sent."""
        for _ in range(10):
            self.move()
            self.turn()
            self.peer_reads()
        self.peer.write(OPENING)
        self.move()
        self.turn()
        assert self.owner.path is not None

    def move(self, most: int = 1 << 20) -> None:
        """Send records of the peer, cut anywhere."""
        self.held += self.peer.records()
        try:
            sent = self.far.send(self.held[:most]) if self.held else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self.held)  # the other end has closed
        self.held = self.held[sent:]

    def peer_reads(self, most: int = 1 << 20) -> None:
        self.peer.feed(self.taken(most))

    def step(self) -> None:
        """Move one piece of data, if there is any."""
        self.move(4000)
        self.turn()
        self.peer_reads()

    def settle(self) -> None:
        """Run until nothing more happens."""
        still = 0
        while still < 5:
            before = (len(self.held), len(self.peer.heard), len(self.owner.heard))
            self.step()
            after = (len(self.held), len(self.peer.heard), len(self.owner.heard))
            is_still = before == after and not self.held and not self.reactor.writers
            still = still + 1 if is_still else 0

    def close(self) -> None:
        super().close()
        self.peer.free()


class TlsCase(SynchronousTestCase):
    """The common base of tests with such pairs."""

    skip = MISSING

    def pair(self, version: int = TLS_1_3, *, is_client: bool = False) -> TlsPair:
        pair = TlsPair(version, is_client=is_client)
        self.addCleanup(pair.close)
        pair.open()
        pair.settle()
        return pair

    def frame(self, pair: TlsPair, payload: bytes, opcode: int = OPCODE_TEXT) -> bytes:
        return encode_frame(opcode, payload, None if pair.masks else KEY)

    def heard_by(self, pair: TlsPair) -> list[tuple[bytes, bool]]:
        self.assertTrue(pair.peer.heard.startswith(ANSWER))
        reader = FrameReader(masked=pair.masks, max_payload_bytes=LIMIT)
        return [
            (payload, opcode == OPCODE_BINARY)
            for opcode, payload in reader.feed(pair.peer.heard[len(ANSWER) :])
        ]
