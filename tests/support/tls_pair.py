"""A media socket with TLS in memory: its path at one end, OpenSSL's at the other."""

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

#: What the peer says first, and what is answered by Twisted's own way: the path opens
#: between them, as it does with a WebSocket's handshake.
OPENING = b"GET /"
ANSWER = b"101 "

KEY = b"\x01\x02\x03\x04"


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Connections:
    """Of either role, that believe anybody."""

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
    @param is_client: the path is the client's; the peer is the other.
    @param shortest: a peer that is a client wants no record of more than 512 bytes.
    @ivar held: records of the peer's that are not on their way yet.
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
        """The end of the handshake has come; what came with it is left."""
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
        """Until the path is open, and the answer on its way."""
        for _ in range(10):
            self.move()
            self.turn()
            self.peer_reads()
        self.peer.write(OPENING)
        self.move()
        self.turn()
        assert self.owner.path is not None

    def move(self, most: int = 1 << 20) -> None:
        """Records of the peer's, cut anywhere, onto the wire."""
        self.held += self.peer.records()
        try:
            sent = self.far.send(self.held[:most]) if self.held else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self.held)  # nobody is there any more
        self.held = self.held[sent:]

    def peer_reads(self, most: int = 1 << 20) -> None:
        self.peer.feed(self.taken(most))

    def step(self) -> None:
        """Something moves, if anything is to."""
        self.move(4000)
        self.turn()
        self.peer_reads()

    def settle(self) -> None:
        """Until nothing moves any more."""
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
    """What tests with such pairs have in common."""

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
