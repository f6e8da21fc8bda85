"""However many requests come at once, calls are not delayed."""

from __future__ import annotations

import re
import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from chime_gateway.http.channel import MAX_KEPT_BYTES, REQUEST_SECONDS
from chime_gateway.http.turns import MOST
from chime_gateway.net.strangers.connections import Connections
from chime_gateway.net.strangers.summary import SECONDS
from tests.support.http_peers import HttpPeer, TurningClock, request, site_of

REQUESTS = st.sampled_from(
    (
        request("/metrics"),
        request("/health"),
        request("/api/x", "POST", b"x" * 300),
        request("/nothing", X=5000 * "y"),
        b"POST /api/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + 40 * b"1\r\nx\r\n"
        + b"0\r\n\r\n",
    )
)
STREAMS = st.lists(st.lists(REQUESTS, min_size=1, max_size=9), min_size=1, max_size=20)


class CountingPage(Resource):
    """
    @ivar rendered: the sizes of the received bodies.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.rendered: list[int] = []

    def render(self, request: Any) -> bytes:
        self.rendered.append(len(request.content.read()))
        return b"read"


class PipeliningTests(SynchronousTestCase):
    @settings(max_examples=15, deadline=None)
    @given(STREAMS, st.integers(300, 70_000))
    def test_a_turn_has_few_requests_and_each_peer_one_response(
        self, streams: list[list[bytes]], size: int
    ) -> None:
        clock = TurningClock()
        made: list[float] = []

        def make() -> bytes:
            made.append(clock.seconds())
            return b"text"

        site = site_of(clock, metrics=make, api=CountingPage())
        peers = [HttpPeer(site) for _ in streams]

        def answers() -> int:
            return sum(peer.heard.count(b"HTTP/1.1 ") for peer in peers)

        waiting = [b"".join(stream) for stream in streams]
        while any(waiting) or site.turns.waiting:
            before = answers()
            for number, peer in enumerate(peers):
                if peer.transport.producerState == "producing":
                    peer.say(waiting[number][:size])
                    waiting[number] = waiting[number][size:]
                if peer.is_over:
                    waiting[number] = b""
            self.assertLessEqual(answers() - before, MOST)
            before = answers()
            clock.turn()
            self.assertLessEqual(answers() - before, MOST)
        for peer, stream in zip(peers, streams, strict=True):
            self.assertGreaterEqual(peer.heard.count(b"HTTP/1.1 "), 1)
            # Unanswered requests are refused in a way that every client understands.
            if peer.heard.count(b"HTTP/1.1 ") < len(stream):
                self.assertIn(b"Connection: close", peer.heard)
                self.assertTrue(peer.is_over)
            peer.close()
        self.assertLessEqual(len(made), 1)

    def test_a_peer_that_waits_for_each_response_stays_connected(self) -> None:
        clock = TurningClock()
        peer = HttpPeer(site_of(clock))
        for count in range(1, 100):
            peer.say(request("/health"))
            clock.turn()
            self.assertEqual(peer.heard.count(b"200 OK"), count)
        self.assertFalse(peer.is_over)
        peer.close()

    def test_a_folded_header_is_refused(self) -> None:
        peer = HttpPeer(site_of(TurningClock()))
        peer.say(b"GET /health HTTP/1.1\r\nX: a\r\n b\r\n\r\n")
        self.assertTrue(peer.heard.startswith(b"HTTP/1.1 400 "))
        peer.close()


NONE = st.sampled_from(
    (
        b"Content-Length: " + 5000 * b"9",
        b"content-length : 1",
        b"Content-Length: -1",
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Transfer-Encoding: " + 5000 * b"9",
        b"X: " + 20_000 * b"y",
        b"X: \0",
        b"no colon",
        b"X: a\r\n b",
        600 * b"X: y\r\n" + b"X: y",
    )
)


class RefusedRequestTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        NONE, st.integers(0, 9000), st.integers(1, 70_000), st.sampled_from((b"", b"x"))
    )
    def test_a_malformed_request_gets_one_response_and_a_close(
        self, header: bytes, padding: int, size: int, body: bytes
    ) -> None:
        clock = TurningClock()
        page = CountingPage()
        peer = HttpPeer(site_of(clock, api=page))
        head = b"POST /api/x HTTP/1.1\r\nHost: x\r\nY: " + padding * b"z"
        behind = request("/api/x", "POST", b"x") * 30
        sent = b"\r\n".join((head, header, b"", body)) + behind
        with capturedLogs() as logged:
            for at in range(0, len(sent), size):
                peer.say(sent[at : at + size])
                clock.turn()
            for _ in range(30):
                clock.turn()
        self.assertEqual(peer.heard, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(peer.is_over)
        self.assertEqual(page.rendered, [])
        self.assertEqual(logged, [])
        peer.close()

    @given(st.sampled_from(("/health", "/ready", "/metrics", "/api/x", "/nothing")))
    def test_head_has_the_length_but_no_body_and_no_log_line(self, path: str) -> None:
        lengths = []
        for method in ("GET", "HEAD"):
            peer = HttpPeer(site_of(TurningClock(), api=CountingPage()))
            with capturedLogs() as logged:
                peer.say(request(path, method))
            self.assertEqual(logged, [])
            head, _, body = peer.heard.partition(b"\r\n\r\n")
            lengths.append(re.findall(rb"(?i)content-length: (\d+)", head))
            self.assertEqual(bool(body), method == "GET")
            peer.close()
        self.assertEqual(lengths[0], lengths[1])


class SlowPeerTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(
        requests=st.lists(REQUESTS, min_size=1, max_size=3),
        size=st.integers(1, 500),
        pause=st.floats(0.01, 30),
    )
    def test_a_slow_request_has_a_total_time_limit(
        self, requests: list[bytes], size: int, pause: float
    ) -> None:
        clock = TurningClock()
        connections = Connections(clock, 100, is_scarce=lambda _: False)
        site = site_of(clock, api=CountingPage(), connections=connections)
        peer = HttpPeer(site)
        for sent in requests:
            began = clock.seconds()
            answered = peer.heard.count(b"HTTP/1.1 ")
            for at in range(0, len(sent), size):
                peer.say(sent[at : at + size])
                clock.turn()
                if peer.is_over or at + size >= len(sent):
                    break
                clock.advance(pause)
                self.assertTrue(
                    peer.is_over or clock.seconds() - began < REQUEST_SECONDS
                )
            if peer.is_over:
                break
            if clock.seconds() - began < REQUEST_SECONDS:
                self.assertEqual(peer.heard.count(b"HTTP/1.1 "), answered + 1)
        if peer.is_over:
            self.assertEqual(connections.closed["slow"], 1)
            clock.advance(5)
            self.assertTrue(peer.is_aborted)
        else:
            peer.close()
        self.assertEqual(len(connections), 0)
        clock.advance(SECONDS)  # when the log reports it
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_silent_connection_has_the_same_time_limit(self) -> None:
        clock = TurningClock()
        peer = HttpPeer(site_of(clock))
        clock.advance(REQUEST_SECONDS)
        self.assertTrue(peer.is_over)
        self.assertEqual(peer.heard, b"")
        peer.close()


class BodyTests(SynchronousTestCase):
    def test_a_body_is_kept_in_memory_up_to_a_limit(
        self,
    ) -> None:
        def no_file(*_: Any, **__: Any) -> Any:
            self.fail("a file was made of it")

        self.patch(tempfile, "TemporaryFile", no_file)
        chunk = b"x" * 10_000
        chunked = b"%x\r\n%s\r\n" % (len(chunk), chunk)
        for count, kept in ((5, 50_000), (100, MAX_KEPT_BYTES)):
            for head, piece, end in (
                (f"Content-Length: {count * len(chunk)}", chunk, b""),
                ("Transfer-Encoding: chunked", chunked, b"0\r\n\r\n"),
            ):
                clock = TurningClock()
                page = CountingPage()
                peer = HttpPeer(site_of(clock, api=page))
                peer.say(f"POST /api/x HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
                for sent in (*[piece] * count, end):
                    peer.say(sent)
                    for _ in range(4):
                        clock.turn()
                self.assertEqual(page.rendered, [kept])
                peer.close()

    def test_a_form_is_not_parsed(self) -> None:
        page = CountingPage()
        peer = HttpPeer(site_of(TurningClock(), api=page))
        kind = "application/x-www-form-urlencoded"
        peer.say(request("/api/x", "POST", b"a=1&" * 100, Content_Type=kind))
        self.assertEqual(page.rendered, [400])
        peer.close()
