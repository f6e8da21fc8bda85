from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from chime_gateway.http.site import MAX_KEPT_BYTES, build_site


class BodyTests(SynchronousTestCase):
    def test_the_body_of_a_stranger_is_kept_up_to_a_size(self) -> None:
        sizes: list[int] = []

        class Page(Resource):
            isLeaf = True

            def render_POST(self, request: Any) -> bytes:
                sizes.append(len(request.content.read()))
                return b"read"

        site = build_site(
            health=lambda: (200, {}),
            ready=lambda: (200, {}),
            metrics=lambda: b"",
            stream=Resource(),
            raw_stream=Resource(),
            api=Page(),
            reactor=Clock(),
        )
        chunk = b"x" * 10_000
        for count, kept in ((5, 50_000), (100, MAX_KEPT_BYTES)):
            channel = site.buildProtocol(None)
            assert channel is not None
            channel.makeConnection(StringTransport())
            length = count * len(chunk)
            head = f"POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: {length}"
            channel.dataReceived(head.encode() + b"\r\n\r\n")
            for _ in range(count):
                channel.dataReceived(chunk)
            self.assertEqual(sizes.pop(), kept)
            channel.connectionLost(None)


class SiteTests(SynchronousTestCase):
    def get(self, path: str, ready: tuple[int, dict[str, Any]]) -> tuple[int, str]:
        site = build_site(
            health=lambda: (200, {"status": "ok"}),
            ready=lambda: ready,
            metrics=lambda: b"chimegw_calls_active 0\n",
            stream=Resource(),
            raw_stream=Resource(),
            api=Resource(),
            reactor=Clock(),
        )
        channel = site.buildProtocol(None)
        assert channel is not None
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = transport.value().decode().partition("\r\n\r\n")
        channel.connectionLost(None)
        return int(head.split()[1]), body

    def test_pages(self) -> None:
        good = (200, {"status": "ready"})
        bad = (503, {"reason": "draining"})
        self.assertEqual(self.get("/health", good), (200, '{"status": "ok"}\n'))
        self.assertEqual(self.get("/ready", good), (200, '{"status": "ready"}\n'))
        self.assertEqual(self.get("/ready", bad), (503, '{"reason": "draining"}\n'))
        status, body = self.get("/metrics", good)
        self.assertEqual((status, body), (200, "chimegw_calls_active 0\n"))
        self.assertEqual(self.get("/nothing", good)[0], 404)
        self.assertEqual(self.get("/stream/other", good)[0], 404)
