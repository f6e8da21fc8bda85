"""
Repeated TLS handshakes with one host, against Python's ssl and OpenSSL's programs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from chime_gateway.net.system.tls import ResumingClient, keep_session
from tests.support.base import ReactorTestCase
from tests.support.certificates import self_signed
from tests.support.files import temporary_file
from tests.support.ports import free_port

HOST = "127.0.0.1"

#: C{s_server -www}'s words for new and resumed sessions.
NEW, REUSED = b"New, ", b"Reused, "


class Asking(Protocol):
    """Sends a request, and waits for the answer, like a WebSocket's handshake."""

    def __init__(self) -> None:
        self.answered: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.said = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET / HTTP/1.0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.said += data
        for word in (NEW, REUSED):
            if word in self.said and not self.answered.called:
                self.answered.callback(word)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.answered.called:
            self.answered.errback(reason)
        self.lost.callback(None)


class PythonServer:
    """A server that answers whether the session was resumed."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.socket = socket.create_server((HOST, 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self.socket.accept()
                with (
                    contextlib.suppress(OSError),
                    raw,
                    self.context.wrap_socket(raw, server_side=True) as connection,
                ):
                    connection.settimeout(10.0)
                    connection.recv(100)
                    connection.sendall(REUSED if connection.session_reused else NEW)
                    connection.recv(100)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


class ResumptionTests(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.path = temporary_file(self, self_signed())
        self.believe(self.path)
        self.now = 0.0
        self.client = ResumingClient(lambda: self.now)

    def believe(self, path: str) -> None:
        before = os.environ.get("SSL_CERT_FILE")

        def restore() -> None:
            os.environ.pop("SSL_CERT_FILE")
            if before is not None:
                os.environ["SSL_CERT_FILE"] = before

        os.environ["SSL_CERT_FILE"] = path
        self.addCleanup(restore)

    async def ask(self, port: int) -> bytes:
        """
        Connect, and send a request.

        @return: the answer.
        """
        endpoint = TCP4ClientEndpoint(self.reactor, HOST, port)
        over_tls = wrapClientTLS(self.client.to(HOST), endpoint)
        asking: Any = await over_tls.connect(Factory.forProtocol(Asking))
        said: bytes = await asking.answered
        keep_session(asking.transport)
        asking.transport.loseConnection()
        await asking.lost
        return said

    def server_context(
        self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        context.maximum_version = version
        return context

    def serve(self, context: ssl.SSLContext) -> PythonServer:
        server = PythonServer(context)
        self.addCleanup(server.close)
        return server

    def test_the_next_handshake_is_short(self) -> Deferred[None]:
        async def scene() -> None:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                server = self.serve(self.server_context(version))
                self.client = ResumingClient(lambda: self.now)
                said = [await self.ask(server.port) for _ in range(3)]
                self.assertEqual(said, [NEW, REUSED, REUSED], version)

        return Deferred.fromCoroutine(scene())

    def test_a_server_that_cannot_resume_gets_a_full_handshake(
        self,
    ) -> Deferred[None]:
        async def scene() -> None:
            servers = [self.serve(self.server_context()) for _ in range(2)]
            for server in servers:  # the second one has other ticket keys
                self.assertEqual(await self.ask(server.port), NEW)
            self.assertEqual(await self.ask(servers[1].port), REUSED)

        return Deferred.fromCoroutine(scene())

    def test_a_server_without_tickets_gets_full_handshakes(self) -> Deferred[None]:
        async def scene() -> None:
            context = self.server_context()
            context.num_tickets = 0
            server = self.serve(context)
            said = [await self.ask(server.port) for _ in range(2)]
            self.assertEqual(said, [NEW, NEW])

        return Deferred.fromCoroutine(scene())

    def test_another_certificate_is_rejected_despite_a_session(self) -> Deferred[None]:
        """A server that cannot resume has to show a valid certificate."""

        async def scene() -> None:
            await self.ask(self.serve(self.server_context()).port)
            self.path = temporary_file(self, self_signed())  # another server's
            server = self.serve(self.server_context())
            with self.assertRaises(Exception) as caught:
                await self.ask(server.port)
            self.assertIn("certificate verify failed", repr(caught.exception))

        return Deferred.fromCoroutine(scene())

    def test_after_an_hour_the_certificate_is_verified_again(self) -> Deferred[None]:
        async def scene() -> None:
            server = self.serve(self.server_context())
            await self.ask(server.port)
            self.now += 3600.0
            self.assertEqual(await self.ask(server.port), NEW)

        return Deferred.fromCoroutine(scene())

    def test_openssl_resumes_as_well(self) -> Deferred[None]:
        if shutil.which("openssl") is None:
            raise SkipTest("no openssl here")

        async def scene() -> None:
            port = free_port()
            command = ["openssl", "s_server", "-accept", f"{HOST}:{port}", "-www"]
            server = subprocess.Popen(
                [*command, "-cert", self.path, "-key", self.path],
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            try:
                for _ in range(500):
                    with contextlib.suppress(OSError):
                        socket.create_connection((HOST, port)).close()
                        break
                    await deferLater(self.reactor, 0.02)
                said = [await self.ask(port) for _ in range(3)]
            finally:
                server.kill()
                server.wait()
            self.assertEqual(said, [NEW, REUSED, REUSED])

        return Deferred.fromCoroutine(scene())
