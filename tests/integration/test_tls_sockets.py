"""
WebSockets over TLS against other TLS implementations: OpenSSL's programs, Python, Node.

Both directions: a carrier's inbound socket under twisted.web, an agent's outbound one.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import Site

from chime_gateway.net import lean_websocket
from chime_gateway.net.batch import BatchReader
from chime_gateway.net.lean_websocket import LeanWebSocket
from chime_gateway.net.path import inside_twisted
from chime_gateway.net.path.socket_path import TransportPath
from chime_gateway.net.path.tls_path import TlsPath
from chime_gateway.wire.websocket_frame import OPCODE_TEXT, encode_frame, mask
from tests.integration.programs import Program, missing
from tests.integration.tls_peers import peer
from tests.support.base import ReactorTestCase
from tests.support.certificates import self_signed
from tests.support.tls_pair import Connections

LIMIT = 1 << 20
VERSIONS = ("1.2", "1.3")
ROLES = ("client", "server")


class Echo(LeanWebSocket):
    """
    Echoes each message.

    @ivar heard: the number of messages.
    @ivar lost: fires when the connection ends, with whether it was closed cleanly.
    """

    is_clean = False

    def onOpen(self) -> None:
        self.heard: list[int] = []
        self.lost: Deferred[bool] = Deferred()
        self.clock = self.factory.reactor
        self.batch = self.factory.batch
        self.open_lean_path(self._received, LIMIT)
        self.factory.opened.append(self)

    def _received(self, payload: bytes, is_binary: bool) -> None:
        self.heard.append(len(payload))
        assert self.send_message(payload, is_binary)

    def peer_stalled(self) -> None:
        self.dropConnection(abort=True)

    def receiver_failed(self) -> None:
        self.dropConnection(abort=True)

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        self.is_clean = wasClean

    def socket_lost(self) -> None:
        self.lost.callback(self.is_clean)


class ServerEcho(Echo, WebSocketServerProtocol):  # type: ignore[misc]
    pass


class ClientEcho(Echo, WebSocketClientProtocol):  # type: ignore[misc]
    pass


class TlsSocketCase(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.certificate = str(Path(self.folder) / "both.pem")
        Path(self.certificate).write_bytes(self_signed())
        self.batch = BatchReader(reactor)
        self.opened: list[Any] = []
        self.server: Any = WebSocketServerFactory(reactor=reactor)
        self.client: Any = WebSocketClientFactory("wss://gw.test/ws", reactor=reactor)
        for factory, protocol in ((self.server, ServerEcho), (self.client, ClientEcho)):
            factory.protocol = protocol
            factory.batch, factory.opened = self.batch, self.opened
            factory.setProtocolOptions(maxMessagePayloadSize=LIMIT, failByDrop=False)
        root = Resource()
        root.putChild(b"ws", WebSocketResource(self.server))
        over_tls: Any = TLSMemoryBIOFactory(
            Connections(self.certificate), False, Site(root), clock=self.reactor
        )
        port = self.reactor.listenTCP(0, over_tls, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        here: Any = port.getHost()
        self.number: int = here.port

    def connect(self, port: int) -> Deferred[Any]:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        return wrapClientTLS(Connections(self.certificate), endpoint).connect(
            self.client
        )

    async def until(self, condition: Any) -> None:
        while not condition():
            await deferLater(self.reactor, 0.01)

    async def meet(self, program: Program, role: str) -> Any:
        """Return the gateway's socket when it is open."""
        if role == "server":
            await self.until(lambda: "\n" in program.output or not program.is_running)
            await self.connect(int(program.output.split()[0]))
        await self.until(lambda: self.opened or not program.is_running)
        self.assertTrue(self.opened, program.output)
        return self.opened[-1]


class PeerCase(TlsSocketCase):
    """
    A test against a program.

    @ivar command: the command line of the other side.
    """

    command: tuple[str, ...] = ()
    kind: type[TransportPath] = TlsPath

    async def run_peer(self, role: str, version: str, scenario: str) -> tuple[Any, str]:
        self.opened.clear()
        port = str(self.number)
        arguments = [role, version, port, scenario, self.certificate]
        program = Program(self.reactor, [*self.command, *arguments], self.folder)
        self.addCleanup(program.stop)
        ours = await self.meet(program, role)
        self.assertIs(type(ours.path), self.kind)
        await program.ended
        await ours.lost
        await self.until(lambda: self.batch.fileno() == -1)
        return ours, program.output.splitlines()[-1]

    def each(self) -> Iterator[tuple[str, str]]:
        for role in ROLES:
            for version in VERSIONS:
                with self.subTest(role=role, version=version):
                    yield role, version


class PythonTests(PeerCase):
    """Python's C{ssl}, whose records the test splits at any place."""

    command = (sys.executable, peer.__file__)

    async def test_messages_are_echoed(self) -> None:
        for role, version in self.each():
            ours, said = await self.run_peer(role, version, "echo")
            self.assertEqual(said, "echoed")
            self.assertEqual(len(ours.heard), 50 + 1 + 1 + 50 + 3 + 200)
            self.assertTrue(ours.is_clean)

    async def test_close_notify_in_the_middle_of_a_message_is_answered(self) -> None:
        for role, version in self.each():
            ours, said = await self.run_peer(role, version, "goodbye")
            self.assertEqual((said, ours.heard), ("answered", [300]))
            self.assertFalse(ours.is_clean)

    async def test_a_peer_that_never_closes_is_dropped(self) -> None:
        self.patch(lean_websocket, "STALL_SECONDS", 0.1)
        for role, version in self.each():
            ours, said = await self.run_peer(role, version, "silent")
            self.assertEqual(said, "left")
            self.assertTrue(ours.is_clean or role == "server")

    async def test_the_end_of_tcp_in_the_middle_of_a_record(self) -> None:
        for role, version in self.each():
            ours, said = await self.run_peer(role, version, "cut")
            self.assertEqual((said, ours.heard), ("gone", [300]))

    async def test_a_broken_record_is_answered_by_an_alert(self) -> None:
        for role, version in self.each():
            ours, said = await self.run_peer(role, version, "broken")
            self.assertIn("BAD_RECORD_MAC", said)
            self.assertEqual(ours.heard, [300])

    async def test_a_peer_that_resets(self) -> None:
        for role, version in self.each():
            ours, said = await self.run_peer(role, version, "reset")
            self.assertEqual((said, ours.heard), ("reset", [300]))


class OwnWayTests(PythonTests):
    """The same without the private parts of Twisted, over its normal path."""

    kind = TransportPath

    def setUp(self) -> None:
        super().setUp()
        self.patch(inside_twisted, "_OF_TLS", ("_appSendBuffer", "_of_another_version"))


class NodeTests(PeerCase):
    skip = missing("node")
    command = ("node", str(Path(peer.__file__).with_name("peer.js")))

    async def test_messages_are_echoed(self) -> None:
        for role, version in self.each():
            ours, said = await self.run_peer(role, version, "echo")
            self.assertEqual(said, "echoed")
            self.assertEqual(len(ours.heard), 50 + 1 + 1 + 50 + 200)

    async def test_a_peer_with_and_without_close_notify(self) -> None:
        for role, version in self.each():
            for scenario, end in (("goodbye", "answered"), ("leave", "left")):
                ours, said = await self.run_peer(role, version, scenario)
                self.assertEqual((said, len(ours.heard)), (end, 50))


class OpensslTests(TlsSocketCase):
    """
    C{s_client} and C{s_server}: the test sends WebSocket frames through them.  The
    lines C{K} and C{k} are commands: new keys for both sides or for one; C{r}: a
    handshake.

    @ivar not_plain: received records that are not plain data.
    """

    skip = missing("openssl")

    def setUp(self) -> None:
        super().setUp()
        self.not_plain: list[Any] = []
        read = inside_twisted.read_records

        def told(tls: Any) -> None:
            self.not_plain.append(tls)
            read(tls)

        self.patch(inside_twisted, "read_records", told)

    async def run_openssl(self, role: str, version: str, *commands: str) -> None:
        self.opened.clear()
        program = _Openssl(self.reactor, role, version, self)
        self.addCleanup(program.stop)
        if role == "client":
            program.say(
                b"GET /ws HTTP/1.1\r\nHost: gw.test\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        else:
            await self.until(lambda: b"ACCEPT" in program.data)
            number = re.search(rb"ACCEPT \S*:(\d+)", program.data)
            assert number is not None, program.data
            await self.connect(int(number[1]))
            await self.until(lambda: b"\r\n\r\n" in program.data)
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", program.data, re.IGNORECASE)
            assert key is not None
            accept = hashlib.sha1(key[1] + peer.GUID).digest()
            program.say(
                b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade"
                b"\r\nSec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
            )
        await self.until(lambda: self.opened)
        ours = self.opened[-1]
        self.assertIsInstance(ours.path, TlsPath)
        await self.say(program, b"before")
        for command in commands:
            count = len(self.not_plain)
            program.say(command.encode() + b"\n")
            # Until it has arrived, further data would belong to the same line.
            await self.until(lambda was=count: len(self.not_plain) > was)
            await self.say(program, b"after " + command.encode())
        self.assertEqual(len(ours.heard), 1 + len(commands))
        program.say(b"Q\n")  # close_notify, then the end
        await program.ended
        await ours.lost

    async def say(self, program: _Openssl, words: bytes) -> None:
        """Send words, and wait for the echo."""
        count = program.heard().count(words)
        program.say(encode_frame(OPCODE_TEXT, words * 20, program.key))
        await self.until(lambda: program.heard().count(words) >= count + 20)

    async def test_keys_are_changed_by_the_other_side(self) -> None:
        for role in ROLES:
            await self.run_openssl(role, "1.3", "k", "K", "K", "k", "K")

    async def test_tls_1_2(self) -> None:
        for role in ROLES:
            await self.run_openssl(role, "1.2")

    async def test_s_server_renegotiates_with_tls_1_2(self) -> None:
        await self.run_openssl("server", "1.2", "r", "r")


class _Openssl(Program):
    """One of OpenSSL's programs: a pipe to TLS."""

    def __init__(self, reactor: Any, role: str, version: str, test: Any) -> None:
        self.data = b""
        self.key = b"\1\2\3\4" if role == "client" else None
        port = test.number
        arguments = {
            "client": ["s_client", "-connect", f"127.0.0.1:{port}"],
            "server": [
                *("s_server", "-accept", "127.0.0.1:0", "-naccept", "1"),
                *("-cert", test.certificate, "-key", test.certificate),
            ],
        }[role]
        option = "-tls" + version.replace(".", "_").removesuffix("_0")
        super().__init__(reactor, ["openssl", *arguments, option], test.folder)

    def outReceived(self, data: bytes) -> None:
        self.data += data

    errReceived = outReceived

    def say(self, data: bytes) -> None:
        self._process.write(data)

    def heard(self) -> bytes:
        """Return the gateway's data, unmasked, from among the program's own output."""
        if self.key is not None:
            return self.data
        heard = b""
        for found in re.finditer(rb"\x81[\xfe\x80-\xfd]", self.data):
            at, size = found.end(), self.data[found.end() - 1] & 0x7F
            if size == 126:
                size, at = int.from_bytes(self.data[at : at + 2], "big"), at + 2
            heard += mask(self.data[at + 4 : at + 4 + size], self.data[at : at + 4])
        return heard
