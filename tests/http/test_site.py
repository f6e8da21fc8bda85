from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from chime_gateway import __version__
from chime_gateway.http import site as pages
from chime_gateway.net.strangers.connections import Connections
from tests.support.http_peers import (
    TOKEN,
    HttpPeer,
    TurningClock,
    ask,
    request,
    site_of,
)
from tests.support.own_names import NAMES


class SiteTests(SynchronousTestCase):
    def test_the_front_page_names_the_program_and_its_pages(self) -> None:
        there = site_of(Clock())
        status, text = ask(there, request("/"))
        self.assertEqual(status, 200)
        for word in ("chime-gateway", __version__, "/stream", "/api/openapi.json"):
            self.assertIn(word, text)
        status, text = ask(there, request("/nothing"))
        self.assertEqual((status, text.count("\n"), "<" in text), (404, 1, False))

    def test_pages(self) -> None:
        site = site_of(Clock(), ready=(503, {"reason": "draining"}))
        self.assertEqual(ask(site, request("/health")), (200, '{"status": "ok"}\n'))
        self.assertEqual(
            ask(site, request("/ready")), (503, '{"reason": "draining"}\n')
        )
        metrics = ask(site, request("/metrics"))
        self.assertEqual(metrics, (200, "chimegw_calls_active 0\n"))
        self.assertEqual(ask(site, request("/nothing"))[0], 404)
        self.assertEqual(ask(site, request("/stream/other"))[0], 404)

    @settings(max_examples=20, deadline=None)
    @given(
        start=st.sampled_from(("", "/nothing", "/stream/other", "/health")),
        part=st.sampled_from(("/", "/a", "/%41", "//")),
        count=st.integers(20, 3000),
    )
    def test_long_paths_are_not_searched_segment_by_segment(
        self, start: str, part: str, count: int
    ) -> None:
        looked: list[bytes] = []

        class Page(Resource):
            def getChild(self, path: bytes, request: Request) -> Page:
                looked.append(path)
                return self

            def render(self, request: Request) -> bytes:
                return b""

        self.patch(pages, "_NotFound", Page)
        clock = TurningClock()
        peer = HttpPeer(site_of(clock))
        peer.say(request(start + part * count))
        for _ in range(5):
            clock.turn()
        self.assertTrue(peer.heard)
        peer.close()
        self.assertLess(len(looked), 5)

    def test_only_http_1_1_is_offered(self) -> None:
        self.assertEqual(site_of(Clock()).acceptableProtocols(), [b"http/1.1"])


class MetricsTests(SynchronousTestCase):
    @given(st.lists(st.floats(0, 3), max_size=30))
    def test_metrics_are_generated_at_most_once_a_second(
        self, pauses: list[float]
    ) -> None:
        clock = Clock()
        made: list[float] = []

        def make() -> bytes:
            made.append(clock.seconds())
            return b"%d" % len(made)

        site = site_of(clock, metrics=make)
        for pause in pauses:
            clock.advance(pause)
            before = clock.seconds()
            _, text = ask(site, request("/metrics"))
            self.assertLess(before - made[int(text) - 1], 1.0)
        gaps = [b - a for a, b in pairwise(made)]
        self.assertTrue(all(gap >= 1.0 for gap in gaps), gaps)

    @given(
        name=NAMES,
        port=st.sampled_from(("", ":8080")),
        token=st.sampled_from(("", TOKEN)),
        address=st.sampled_from(("127.0.0.1", "127.8.8.8", "203.0.113.7", "10.0.0.1")),
        forwarded=st.sampled_from(("", "Forwarded", "X_Forwarded_For", "Via")),
        shown=st.sampled_from(
            ("", "Bearer x", f"Bearer {TOKEN}", TOKEN, f"Basic {TOKEN}", "Bearer \xff")
        ),
    )
    def test_metrics_need_the_token_or_else_this_machine(
        self,
        name: tuple[str, bool],
        port: str,
        token: str,
        address: str,
        forwarded: str,
        shown: str,
    ) -> None:
        headers = {"Host": name[0] + port}
        if forwarded:
            headers[forwarded] = "203.0.113.9"
        if shown:
            headers["Authorization"] = shown
        sent = request("/metrics", "GET", b"", **headers)
        status, _ = ask(site_of(Clock(), token=token), sent, address)
        if not shown.isascii():
            self.assertEqual(status, 400)
        elif token:
            self.assertEqual(status, 200 if shown == f"Bearer {TOKEN}" else 401)
        else:
            is_ours = address.startswith("127.") and not forwarded and name[1]
            self.assertEqual(status, 200 if is_ours else 403)

    @given(
        path=st.sampled_from(("/metrics", "/health", "/ready")), is_right=st.booleans()
    )
    def test_a_peer_with_the_token_is_not_a_stranger(
        self, path: str, is_right: bool
    ) -> None:
        connections = Connections(Clock(), 100, is_scarce=lambda _: False)
        site = site_of(Clock(), token=TOKEN, connections=connections)
        peer = HttpPeer(site)
        token = TOKEN if is_right else "wrong"
        peer.say(request(path, Authorization=f"Bearer {token}"))
        self.assertEqual(len(connections), not is_right)
        peer.close()
        self.assertEqual(len(connections), 0)

    def test_all_loopback_addresses_are_this_machine(self) -> None:
        for address, status in (
            ("::1", 200),
            ("::ffff:127.0.0.1", 200),
            ("::ffff:203.0.113.7", 403),
            ("fe80::1%eth0", 403),
            ("", 403),
        ):
            site = site_of(Clock())
            self.assertEqual(ask(site, request("/metrics"), address)[0], status)

    def test_a_request_leaves_nothing_behind(self) -> None:
        clock = Clock()
        peer = HttpPeer(site_of(clock))
        peer.say(request("/metrics"))
        clock.advance(0)
        peer.close()
        self.assertEqual(clock.getDelayedCalls(), [])
