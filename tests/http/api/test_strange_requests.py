"""Whatever bytes a request contains, the response is a described one."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.routing import Roster
from chime_gateway.http.api.api_request import ApiContext
from chime_gateway.http.api.live_events import LiveEvents
from chime_gateway.http.api.resource import Api
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.store.rows import Whose
from tests.support.http_peers import TOKEN, HttpPeer, request, site_of

SURROGATES = st.text(st.characters(categories=("Cs", "Lu", "Cc")), max_size=5)
NUMBERS = st.one_of(
    st.floats(), st.integers(), st.just(10**400), st.booleans(), st.none(), SURROGATES
)
ODD_HEADERS = st.sampled_from(("\xff", "x\xff", "\xff\xfe", "\x80"))


class Calls:
    roster = Roster(agents={"default": AgentProfile()})

    def calls(self) -> list[Any]:
        return []

    def call(self, call_id: str) -> Any:
        raise NotImplementedError


def answer(path: str, method: str = "GET", body: bytes = b"", **more: str) -> int:
    clock = Clock()
    context = ApiContext(
        token=TOKEN,
        whose=Whose("me", "now"),
        calls=Calls(),
        events=LiveEvents(clock, lambda event: {}, lambda: 0.0, lambda: 0.0),
        in_thread=lambda function, *arguments: function(*arguments),
        originate=lambda *arguments: NotImplemented,
    )
    peer = HttpPeer(site_of(clock, api=Api(context), token=TOKEN))
    headers = {"Authorization": f"Bearer {TOKEN}", **more}
    peer.say(request(path, method, body, **headers))
    status = int(peer.heard.split()[1])
    peer.close()
    return status


class StrangeRequestTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(at=NUMBERS, call_id=NUMBERS)
    def test_a_forged_cursor_is_refused(self, at: Any, call_id: Any) -> None:
        inside = json.dumps([at, call_id]).encode()
        cursor = base64.urlsafe_b64encode(inside).decode()
        status = answer(f"/api/calls?cursor={cursor}")
        is_ours = type(at) in (int, float) and abs(at) < 1e15
        is_ours = is_ours and isinstance(call_id, str) and call_id.isascii()
        is_ours = is_ours and call_id.isalnum() and len(cursor) <= 200
        self.assertIn(status, (200,) if is_ours else (400, 422))
        self.assertEqual(answer("/api/calls?cursor=xxxx"), 404)

    @given(odd=ODD_HEADERS)
    def test_a_header_beyond_ascii_is_refused(self, odd: str) -> None:
        place = json.dumps({"to": "+4930123456"}).encode()
        kind = "application/json"
        for path, method, body, headers in (
            ("/api/calls", "GET", b"", {"Authorization": odd}),
            ("/api/calls", "GET", b"", {"Authorization": f"Bearer {TOKEN}{odd}"}),
            ("/api/calls", "POST", place, {"Content_Type": odd}),
            (
                *("/api/calls", "POST", place),
                {"Content_Type": kind, "Idempotency_Key": odd},
            ),
            ("/api/events", "GET", b"", {"Last_Event_ID": odd}),
            ("/health", "GET", b"", {"Authorization": odd}),
            ("/ready", "GET", b"", {"Authorization": odd}),
            ("/metrics", "GET", b"", {"Authorization": odd}),
        ):
            self.assertEqual(answer(path, method, body, **headers), 400, path)

    @settings(max_examples=40, deadline=None)
    @given(SURROGATES)
    def test_a_body_with_an_unpaired_surrogate_is_refused(self, text: str) -> None:
        body = json.dumps({"to": "+4930123456", "agent": f"x{text}\ud800"}).encode()
        status = answer("/api/calls", "POST", body, Content_Type="application/json")
        self.assertEqual(status, 400)


class DetailTests(SynchronousTestCase):
    def test_strangers_see_fewer_details(self) -> None:
        for path in ("/health", "/ready"):
            for shown, sees in (("", False), ("Bearer x", False), (TOKEN, False)):
                self.assertEqual(self.sees(path, shown), sees)
            self.assertTrue(self.sees(path, f"Bearer {TOKEN}"))

    def sees(self, path: str, shown: str) -> bool:
        peer = HttpPeer(site_of(Clock(), token=TOKEN))
        peer.say(
            request(path, "GET", b"", **({"Authorization": shown} if shown else {}))
        )
        peer.close()
        return b"details" in peer.heard
