"""Offers over HTTP: who may send one, and the response to each."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import CallRefused, UnknownAgent
from chime_gateway.outcomes import Outcome
from chime_gateway.wire.sdp.description import MAX_BYTES
from tests.support.fakes import Log, RecordingSwitchboard
from tests.support.rtc_offers import BROWSER, OPUS_ONLY, WITH_VIDEO
from tests.support.rtc_peer import SECRET, SETTINGS, RtcWorld

BEARER = {"Authorization": f"Bearer {SECRET}"}


class OfferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log: Log = []
        self.board = RecordingSwitchboard(self.log)
        self.world = RtcWorld(self.board)

    def turned_away(self) -> list[Outcome]:
        return [entry[2] for entry in self.log if entry[0] == "turned_away"]

    def test_an_offer_is_answered_and_deleted(self) -> None:
        said = self.world.offer(BROWSER)
        self.assertEqual(said.status, 201)
        self.assertEqual(said.headers["content-type"], "application/sdp")
        answer = said.body.decode()
        for line in (
            "a=ice-lite",
            "a=setup:passive",
            "a=rtcp-mux",
            "a=mid:0",
            "a=group:BUNDLE 0",
            "a=sendrecv",
            "a=rtpmap:126 telephone-event/8000",
        ):
            self.assertIn(f"{line}\r\n", answer)
        self.assertIn("m=audio 3478 UDP/TLS/RTP/SAVPF 0 126\r\n", answer)
        self.assertIn(" 198.51.100.204 3478 typ host\r\n", answer)
        place = said.headers["location"]
        self.assertTrue(place.startswith("/webrtc/calls/"))
        self.assertEqual(self.world.ask("DELETE", place).status, 200)
        ended = [entry for entry in self.log if entry[0] == "leg_ended"]
        self.assertEqual(len(ended), 1)
        self.assertEqual(self.world.ask("DELETE", place).status, 404)
        self.assertEqual(self.world.carrier.counts()["legs"], 0)

    def test_equal_offers_are_separate_calls(self) -> None:
        """Also without candidates: the peer is found by its checks."""
        bare = "".join(
            f"{line}\r\n"
            for line in BROWSER.split("\r\n")
            if line and not line.startswith("a=candidate")
        )
        said = [self.world.offer(body) for body in (BROWSER, BROWSER, bare)]
        self.assertEqual([one.status for one in said], [201] * 3)
        places = {one.headers["location"] for one in said}
        self.assertEqual(len(places), 3)
        self.world.ask("DELETE", said[0].headers["location"])
        peers = self.world.carrier.peers
        self.assertEqual([peer.closed for peer in peers], [1, 0, 0])

    def test_strangers_cannot_begin_a_call(self) -> None:
        for named, status in (
            ({}, 401),
            ({"Authorization": "Bearer not that"}, 403),
            ({"X_Gateway_Secret": "neither"}, 403),
            ({"X_Gateway_Secret": SECRET}, 201),
        ):
            said = self.world.ask(
                "POST", body=BROWSER, Content_Type="application/sdp", **named
            )
            self.assertEqual(said.status, status, named)
        refused = [Outcome.UNAUTHORIZED] * 3
        self.assertEqual(self.turned_away(), refused)
        self.assertEqual(len(self.world.carrier.peers), 1)

    def test_invalid_offers_are_refused_with_the_reason(self) -> None:
        for body, named, status, word in (
            (BROWSER, {"Content_Type": "text/plain"}, 415, "application/sdp"),
            (BROWSER, {"Content_Type": ""}, 415, "application/sdp"),
            (BROWSER, {"Content_Type": "Application/SDP; charset=utf-8"}, 201, "v=0"),
            (BROWSER + "a=x\r\n" * MAX_BYTES, {}, 413, str(MAX_BYTES)),
            ("hello", {}, 400, "description"),
            ("", {}, 400, "description"),
            (OPUS_ONLY, {}, 422, "PCMU or PCMA"),
            (BROWSER.replace("a=sendrecv", "a=sendonly"), {}, 422, "both directions"),
            (BROWSER.replace("a=fingerprint", "a=x-print"), {}, 422, "fingerprint"),
            (BROWSER.replace("m=audio 9 ", "m=video 9 "), {}, 422, "no audio"),
            (WITH_VIDEO, {}, 201, "m=video 0 "),
        ):
            said = self.world.offer(body, **named)
            self.assertEqual(said.status, status, said.body)
            self.assertIn(word, said.body.decode())
        self.assertEqual(self.turned_away(), [Outcome.CALLER_PROTOCOL_ERROR] * 9)
        self.assertEqual(len(self.world.carrier.peers), 2)

    def test_a_full_gateway_says_when_to_try_again(self) -> None:
        self.board.why = "full"
        said = self.world.offer(BROWSER)
        self.assertEqual((said.status, said.body), (503, b"full\n"))
        self.assertIn("retry-after", said.headers)
        self.assertEqual(self.world.carrier.peers, [])
        self.board.why = None
        for fault, status in ((CallRefused("later"), 503), (UnknownAgent("who?"), 404)):
            self.board.raises = fault
            said = self.world.offer(BROWSER)
            self.assertEqual(said.status, status)
            self.assertEqual(
                said.headers.get("retry-after"), "5" if status == 503 else None
            )
        self.assertEqual([peer.closed for peer in self.world.carrier.peers], [1, 1])
        self.assertEqual(self.world.carrier.counts()["legs"], 0)

    def test_without_a_socket_there_is_no_call(self) -> None:
        self.world.carrier.fault = OSError("too many open files")
        self.assertEqual(self.world.offer(BROWSER).status, 503)
        self.assertEqual(self.world.carrier.counts()["legs"], 0)
        self.assertNotIn("incoming", [entry[0] for entry in self.log])

    def test_other_methods_are_refused(self) -> None:
        place = self.world.offer(BROWSER).headers["location"]
        for method, path, allowed in (
            ("GET", "/webrtc/offer", "POST, OPTIONS"),
            ("HEAD", "/webrtc/offer", "POST, OPTIONS"),
            ("PUT", "/webrtc/offer", "POST, OPTIONS"),
            ("GET", place, "DELETE, OPTIONS"),
            ("POST", place, "DELETE, OPTIONS"),
            ("PATCH", place, "DELETE, OPTIONS"),
        ):
            said = self.world.ask(method, path, **BEARER)
            self.assertEqual((said.status, said.headers["allow"]), (405, allowed))
        said = self.world.ask("PATCH", place, "a=candidate:x", **BEARER)
        self.assertIn("trickle ICE", said.body.decode())
        for path in ("/webrtc", "/webrtc/", "/webrtc/calls", f"{place}/more"):
            self.assertEqual(self.world.ask("DELETE", path, **BEARER).status, 404)
        self.assertEqual(self.world.carrier.counts()["legs"], 1)

    def test_a_call_is_found_only_by_its_whole_id(self) -> None:
        place = self.world.offer(BROWSER).headers["location"]
        shown = self.board.legs[0].info.carrier_call_id
        self.assertIn(shown, place)
        for other in (f"/webrtc/calls/{shown}", place[:-1], place + "0"):
            self.assertEqual(self.world.ask("DELETE", other).status, 404)
        self.assertEqual(self.world.carrier.counts()["legs"], 1)

    def test_the_caller_is_described_by_query_and_headers(self) -> None:
        self.world.offer(
            BROWSER,
            "/webrtc/offer?agent=sales&from=%2B1206%20555%200100&to=2&order=%C3%BC&x=1",
            X_Customer="42",
            X_Gateway_Secret=SECRET,
            X_Forwarded_For="10.0.0.1",
        )
        info = self.board.legs[0].info
        self.assertEqual((info.agent, info.called), ("sales", "2"))
        self.assertEqual(info.caller, "+12065550100")
        self.assertEqual(info.parameters["order"], "\u00fc")
        self.assertEqual(info.parameters["x-customer"], "42")
        self.assertFalse({"x-forwarded-for", "x-gateway-secret"} & set(info.parameters))
        self.assertNotIn(SECRET, str(dict(info.parameters)))


class PageTests(SynchronousTestCase):
    """Pages of other sites (CORS)."""

    PAGE = "https://app.example"

    def new(self, *origins: str, secret: str = SECRET) -> RtcWorld:
        board = RecordingSwitchboard([])
        return RtcWorld(board, evolve(SETTINGS, origins=origins), secret)

    def preflight(
        self, world: RtcWorld, origin: str, path: str = "/webrtc/offer"
    ) -> int:
        said = world.ask(
            "OPTIONS",
            path,
            Origin=origin,
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="authorization,content-type",
        )
        is_allowed = said.headers.get("access-control-allow-origin") == origin
        self.assertEqual(said.status, 204 if is_allowed else said.status)
        if is_allowed:
            allowed = said.headers["access-control-allow-headers"]
            self.assertEqual(allowed, "authorization,content-type")
        return said.status

    def test_a_page_that_is_not_allowed_is_refused(self) -> None:
        world = self.new()
        self.assertEqual(self.preflight(world, self.PAGE), 403)
        self.assertEqual(self.preflight(world, "null"), 403)
        self.assertEqual(self.preflight(world, "https://gw.example"), 204)
        said = world.offer(BROWSER, Origin=self.PAGE)
        self.assertNotIn("access-control-allow-origin", said.headers)

    def test_an_allowed_page_is_accepted(self) -> None:
        world = self.new(self.PAGE)
        for path in ("/webrtc/offer", "/webrtc/calls/x"):
            self.assertEqual(self.preflight(world, self.PAGE, path), 204)
            self.assertEqual(self.preflight(world, "https://evil.example", path), 403)
        said = world.offer(BROWSER, Origin=self.PAGE)
        self.assertEqual(said.status, 201)
        self.assertEqual(said.headers["access-control-allow-origin"], self.PAGE)
        self.assertIn("Location", said.headers["access-control-expose-headers"])
        # A page can read refusals as well.
        said = world.offer("no", Origin=self.PAGE)
        self.assertEqual(said.headers["access-control-allow-origin"], self.PAGE)
        said = world.ask("POST", body=BROWSER, Origin=self.PAGE)
        self.assertEqual((said.status, said.headers["vary"]), (401, "Origin"))

    @given(
        st.lists(st.sets(st.sampled_from((PAGE, "https://b.example", "*"))), max_size=4)
    )
    def test_allowed_origins_can_change_while_calls_go_on(
        self, changes: list[set[str]]
    ) -> None:
        """As after SIGHUP."""
        world = self.new(self.PAGE)
        self.assertEqual(world.offer(BROWSER, Origin=self.PAGE).status, 201)
        for origins in changes:
            world.carrier.change(evolve(SETTINGS, origins=tuple(sorted(origins))))
            for page in (self.PAGE, "https://b.example", "https://c.example"):
                status = 204 if {page, "*"} & origins else 403
                self.assertEqual(self.preflight(world, page), status)
        self.assertEqual(world.carrier.counts()["legs"], 1)
        self.assertEqual([peer.closed for peer in world.carrier.peers], [0])

    def test_without_a_secret_a_page_must_be_own_or_allowed(self) -> None:
        for origins, origin, host, status in (
            ((), None, "localhost:8080", 201),
            ((), "http://localhost:8080", "localhost:8080", 201),
            ((), self.PAGE, "localhost:8080", 403),
            ((self.PAGE,), self.PAGE, "localhost:8080", 201),
            (("*",), self.PAGE, "localhost:8080", 201),
            # The owner of any name can let it resolve to this machine.
            (("*",), self.PAGE, "rebound.example", 403),
        ):
            world = self.new(*origins, secret="")
            named = {"Host": host, **({} if origin is None else {"Origin": origin})}
            self.assertEqual(world.offer(BROWSER, **named).status, status, named)

    def test_a_plain_options_request_lists_the_methods(self) -> None:
        said = self.new().ask("OPTIONS")
        self.assertEqual((said.status, said.headers["allow"]), (204, "POST, OPTIONS"))
        self.assertEqual(said.headers["accept-post"], "application/sdp")


class AnyRequestTests(SynchronousTestCase):
    """Every request is answered, and only accepted calls leave something."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(("POST", "DELETE", "PATCH", "OPTIONS", "GET")),
        st.sampled_from(
            ("offer", "calls/x", "calls/", "offer/x", "calls/a/b", "offer?", "offer?&=")
        ),
        st.one_of(
            st.sampled_from((BROWSER, WITH_VIDEO, OPUS_ONLY, "")).map(str.encode),
            st.binary(max_size=200),
            st.tuples(st.integers(0, len(BROWSER)), st.binary(max_size=4)).map(
                lambda cut: BROWSER[: cut[0]].encode() + cut[1]
            ),
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "Authorization": st.sampled_from(
                    (f"Bearer {SECRET}", "Bearer", "Basic x", "\u00fc")
                ),
                "Content_Type": st.sampled_from(("application/sdp", "x/y", ";")),
                "Origin": st.sampled_from(("null", "https://a.example", "::", "")),
                "Access_Control_Request_Headers": st.sampled_from(
                    ("a", "\u00e4", "x:y")
                ),
            },
        ),
    )
    def test_any_request_is_answered(
        self, method: str, path: str, body: bytes, named: dict[str, str]
    ) -> None:
        log: Log = []
        board = RecordingSwitchboard(log)
        world = RtcWorld(board)
        said = world.ask(method, f"/webrtc/{path}", body, **named)
        self.assertIn(
            said.status, {201, 204, 400, 401, 403, 404, 405, 413, 415, 422}, said.body
        )
        taken = int(said.status == 201)
        self.assertEqual(world.carrier.counts()["legs"], taken)
        self.assertEqual(len(board.legs), taken)
        self.assertEqual(sum(not p.closed for p in world.carrier.peers), taken)
        self.assertEqual(len(world.connections), 0)
