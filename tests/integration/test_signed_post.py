"""Faulty tool servers: slow, down, huge, lying, redirecting, or a web page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from chime_gateway.errors import ToolFailed
from chime_gateway.net.http_tools import HttpTools
from chime_gateway.net.signed_post import PostFailed, SignedPost, sign
from chime_gateway.settings.tools import HttpTool
from tests.support.base import ReactorTestCase

NOW = 1_700_000_000.5


class Server(Protocol):
    """Stores each request, and sends a configured answer."""

    answer: Callable[[Server], None]
    requests: list[bytes]
    connections: list[Server]

    def connectionMade(self) -> None:
        self.data = b""
        self.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if len(body) >= length:
            self.requests.append(self.data)
            self.data = b""
            cast(Any, self.factory).answer(self)

    def say(self, *lines: str, body: bytes = b"", length: int | None = None) -> None:
        size = len(body) if length is None else length
        head = "\r\n".join([*lines, f"Content-Length: {size}", "", ""])
        assert self.transport is not None
        self.transport.write(head.encode() + body)


JSON = ("HTTP/1.1 200 OK", "Content-Type: application/json")


class PostTestCase(ReactorTestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = cast(Any, reactor)
        self.requests: list[bytes] = []
        self.connections: list[Server] = []

        class Made(Server):
            requests = self.requests
            connections = self.connections

        self.factory = cast(Any, Factory.forProtocol(Made))
        self.factory.answer = lambda server: server.say(*JSON, body=b'{"a":1}')
        self.port = self.reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.post = SignedPost(self.reactor, self.reactor, lambda: NOW)
        self.tools = HttpTools(self.post, self.reactor.seconds)

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._tear_down())

    async def _tear_down(self) -> None:
        closing = self.post.close()
        if closing is not None:
            await closing
        for connection in self.connections:
            transport: Any = connection.transport
            transport.abortConnection()
        await self.port.stopListening()
        await deferLater(self.reactor, 0.02)

    def tool(self, **more: Any) -> HttpTool:
        url = f"http://127.0.0.1:{self.port.getHost().port}/tool"
        return HttpTool(**{"name": "order", "url": url, "timeout_seconds": 2.0, **more})

    async def ask(self, **more: Any) -> str:
        return await self.tools.run(self.tool(**more), "call_1", b'{"x":1}')

    async def refusal(self, **more: Any) -> str:
        try:
            result = await self.ask(**more)
        except ToolFailed as exc:
            self.assertNotIn("{", str(exc))  # this text goes into the log
            return f"{exc}: {exc.detail}"
        self.fail(f"there was a result: {result}")

    def headers(self) -> dict[str, str]:
        head = self.requests[-1].partition(b"\r\n\r\n")[0].decode()
        pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
        return {name.lower(): value for name, _, value in pairs}


class HttpToolTests(PostTestCase):
    def test_the_request_is_signed_and_its_answer_is_the_result(self) -> Deferred[None]:
        async def scene() -> None:
            result = await self.ask(secret="tool-secret", bearer="token")
            self.assertEqual(json.loads(result), {"a": 1})
            headers = self.headers()
            self.assertEqual(headers["authorization"], "Bearer token")
            self.assertEqual(headers["content-type"], "application/json")
            self.assertEqual(headers["webhook-id"], "call_1")
            self.assertEqual(headers["webhook-timestamp"], str(int(NOW)))
            expected = sign("tool-secret", "call_1", int(NOW), b'{"x":1}')
            self.assertEqual(headers["webhook-signature"], expected)
            self.assertTrue(self.requests[0].endswith(b'{"x":1}'))

        return Deferred.fromCoroutine(scene())

    def test_without_a_secret_nothing_is_signed(self) -> Deferred[None]:
        async def scene() -> None:
            await self.ask()
            self.assertNotIn("webhook-signature", self.headers())
            self.assertNotIn("authorization", self.headers())

        return Deferred.fromCoroutine(scene())

    def test_invalid_answers_are_described_in_words(self) -> Deferred[None]:
        def close(server: Server) -> None:
            assert server.transport is not None
            server.transport.loseConnection()

        def cut(server: Server) -> None:
            server.say(*JSON, body=b'{"a":', length=500)
            close(server)

        def garbage(server: Server) -> None:
            assert server.transport is not None
            server.transport.write(b"\x00\xff nonsense\r\n\r\n")
            close(server)

        html = ("HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8")
        moved = ("HTTP/1.1 302 Found", "Location: http://127.0.0.1:1/elsewhere")
        missing = ("HTTP/1.1 404 Not Found", "Content-Type: application/json")
        broken = ("HTTP/1.1 500 Oops", "Content-Type: text/html")

        async def scene() -> None:
            for answer, words in (
                (lambda s: s.say(*html, body=b"<h1>Hi</h1>"), "text/html, not JSON"),
                (lambda s: s.say(*moved), "redirects"),
                (lambda s: s.say(*missing, body=b'{"e":"no"}'), '404: {"e":"no"}'),
                (lambda s: s.say(*broken, body=b"<h1>"), "says 500"),
                (lambda s: s.say(*JSON, body=b"\xff\xfe"), "not UTF-8"),
                (cut, "shorter than announced"),
                (garbage, "did not answer"),
                (close, "did not answer"),
            ):
                self.factory.answer = answer
                self.assertIn(words, await self.refusal())

        return Deferred.fromCoroutine(scene())

    def test_an_empty_answer_is_a_result(self) -> Deferred[None]:
        async def scene() -> None:
            self.factory.answer = lambda s: s.say("HTTP/1.1 204 No Content")
            self.assertEqual(json.loads(await self.ask()), {"ok": True})

        return Deferred.fromCoroutine(scene())

    def test_a_huge_answer_is_cut_off(self) -> Deferred[None]:
        async def scene() -> None:
            self.factory.answer = lambda s: s.say(*JSON, body=b'"' + b"x" * 2_000_000)
            text = await self.refusal(max_answer_bytes=1000)
            self.assertIn("larger than 1000 bytes", text)

        return Deferred.fromCoroutine(scene())

    def test_a_slow_server_is_not_waited_for(self) -> Deferred[None]:
        async def scene() -> None:
            self.factory.answer = lambda _: None
            began = self.reactor.seconds()
            self.assertIn("too long", await self.refusal(timeout_seconds=0.3))
            self.assertLess(self.reactor.seconds() - began, 10.0)
            self.assertEqual(len(self.requests), 1)

        return Deferred.fromCoroutine(scene())

    def test_a_server_that_sends_slowly_is_not_waited_for_either(
        self,
    ) -> Deferred[None]:
        def drip(server: Server) -> None:
            server.say(*JSON, body=b'{"a"', length=100)

        async def scene() -> None:
            self.factory.answer = drip
            self.assertIn("too long", await self.refusal(timeout_seconds=0.3))

        return Deferred.fromCoroutine(scene())

    def test_a_failed_connection_is_tried_again_with_the_same_id(
        self,
    ) -> Deferred[None]:
        def first_closes(server: Server) -> None:
            if len(self.requests) == 1:
                assert server.transport is not None
                server.transport.loseConnection()
            else:
                server.say(*JSON, body=b'"second"')

        async def scene() -> None:
            self.factory.answer = first_closes
            self.assertEqual(await self.ask(), '"second"')
            ids = [r.lower().count(b"webhook-id: call_1") for r in self.requests]
            self.assertEqual(ids, [1, 1])

        return Deferred.fromCoroutine(scene())

    def test_an_error_status_is_an_answer_and_not_retried(self) -> Deferred[None]:
        async def scene() -> None:
            self.factory.answer = lambda s: s.say("HTTP/1.1 503 Busy")
            self.assertIn("503", await self.refusal())
            self.assertEqual(len(self.requests), 1)

        return Deferred.fromCoroutine(scene())

    def test_a_server_that_is_down(self) -> Deferred[None]:
        async def scene() -> None:
            port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
            number = port.getHost().port
            await port.stopListening()
            text = await self.refusal(url=f"http://127.0.0.1:{number}/")
            self.assertIn("did not answer", text)
            self.assertNotIn("127.0.0.1:", text)

        return Deferred.fromCoroutine(scene())

    def test_the_end_of_a_call_cancels_the_request(self) -> Deferred[None]:
        async def scene() -> None:
            self.factory.answer = lambda _: None
            asking = self.tools.run(self.tool(timeout_seconds=60.0), "c", b"{}")
            while not self.requests:
                await deferLater(self.reactor, 0.005)
            asking.addErrback(lambda _: None)
            asking.cancel()
            # Its timer is cancelled; otherwise the reactor would be unclean.
            await deferLater(self.reactor, 0.05)
            self.assertEqual(len(self.requests), 1)

        return Deferred.fromCoroutine(scene())


class SignTests(ReactorTestCase):
    def test_the_signature_is_that_of_standard_webhooks(self) -> None:
        # The example of the specification's reference implementations.
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        body = b'{"test": 2432232314}'
        signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        self.assertEqual(signature, expected)

    def test_another_secret_is_used_unchanged(self) -> None:
        self.assertNotEqual(sign("a", "i", 1, b""), sign("b", "i", 1, b""))
        self.assertTrue(sign("whsec_not base64!", "i", 1, b"").startswith("v1,"))

    def test_the_error_names_no_address(self) -> None:
        self.assertNotIn("http", str(PostFailed("it took too long to answer")))
