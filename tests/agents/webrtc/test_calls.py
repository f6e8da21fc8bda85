from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from chime_gateway.agents.webrtc.calls import Calls, Made, call_id_of
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.errors import AgentUnavailable, ProfileRefused
from chime_gateway.net.http_client import Answer

BASE = "https://r.openai.azure.com/openai/v1/realtime"
CALLS = f"{BASE}/calls"


class CallIdTests(SynchronousTestCase):
    def test_the_id_is_the_last_segment_or_in_the_query(self) -> None:
        for location, call_id in (
            ("/v1/realtime/calls/rtc_abc", "rtc_abc"),
            ("https://h/openai/v1/realtime/calls/rtc_abc/", "rtc_abc"),
            ("/openai/v1/realtime?call_id=rtc_abc", "rtc_abc"),
            ("wss://h/x?model=m&call_id=rtc_abc", "rtc_abc"),
            ("", ""),
            ("/", ""),
            ("/v1/realtime/calls/a b", ""),
            ("/v1/realtime/calls/rtc_abc\n", "rtc_abc"),
            ("/?" + "a&" * 1000, ""),
            ("http://[", ""),
        ):
            self.assertEqual(call_id_of(location), call_id, location)

    @given(st.text())
    def test_any_id_is_safe_in_a_url(self, location: str) -> None:
        self.assertRegex(call_id_of(location), r"\A[A-Za-z0-9_.~-]{0,200}\Z")


class Http:
    """@ivar asked: method, URL, headers, body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[Deferred[Any]] = []
        self.is_closed = False

    def request(
        self, method: str, url: str, headers: Any, body: bytes
    ) -> Deferred[Answer]:
        self.asked.append((method, url, dict(headers), body))
        return self.answers.pop(0) if self.answers else Deferred()

    def close(self) -> Deferred[None]:
        self.is_closed = True
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        def deliver(reader: Any) -> None:
            from twisted.web.client import ResponseDone

            reader.dataReceived(body)
            reader.connectionLost(Failure(ResponseDone()))

        said = Headers({name: [value] for name, value in headers.items()})
        answer = Answer(code, said, deliver, lambda *_: None, lambda: None)
        one: Deferred[Any] = Deferred()
        one.callback(answer)
        self.answers.append(one)


class CallsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.http = Http()
        self.calls = Calls(self.http, self.clock)  # type: ignore[arg-type]

    def test_a_secret_is_requested_with_the_real_key(self) -> None:
        self.http.answer(200, b"{}")
        minting = self.calls.mint(
            f"{BASE}/client_secrets", {"api-key": "k"}, {"model": "m"}
        )
        self.assertEqual(self.successResultOf(minting), b"{}")
        ((method, url, headers, body),) = self.http.asked
        self.assertEqual((method, url), ("POST", f"{BASE}/client_secrets"))
        self.assertEqual(headers["api-key"], "k")
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(body, b'{"model":"m"}')

    def test_a_call_is_made_with_the_secret(self) -> None:
        self.http.answer(201, b"v=0", location="/v1/realtime/calls/rtc_1")
        making = self.calls.make(CALLS, "ek_1", b"offer")
        self.assertEqual(self.successResultOf(making), Made(b"v=0", "rtc_1"))
        ((_, url, headers, body),) = self.http.asked
        self.assertEqual(url, f"{BASE}/calls")
        self.assertEqual(headers["authorization"], "Bearer ek_1")
        self.assertEqual(headers["content-type"], "application/sdp")
        self.assertEqual(body, b"offer")

    def test_the_preview_has_another_url(self) -> None:
        self.http.answer(200, b"{}")
        url = "https://r.openai.azure.com/openai/realtimeapi/sessions?api-version=v"
        minting = self.calls.mint(url, {"api-key": "k"}, {"model": "m"})
        self.assertEqual(self.successResultOf(minting), b"{}")
        self.http.answer(401, b"")
        url = "https://eastus2.example.com/v1/realtimertc?model=m"
        making = self.calls.make(url, "ek_1", b"offer")
        why = self.failureResultOf(making, HandshakeRefused).value
        self.assertIn("answered realtimertc with HTTP 401", str(why))
        self.assertEqual(self.http.asked[1][1], url)
        self.assertEqual(self.http.asked[0][3], b'{"model":"m"}')

    def test_a_refusal_says_whose_fault_it_is(self) -> None:
        voice = b'{"error":{"message":"No.","param":"session.audio.output.voice"}}'
        model = b'{"error":{"message":"No.","param":"session.model"}}'
        for code, body, kind, is_misconfigured in (
            (400, voice, ProfileRefused, True),
            (400, model, HandshakeRefused, True),
            (400, b"<html>", HandshakeRefused, True),
            (401, b"", HandshakeRefused, True),
            (429, b"", HandshakeRefused, False),
            (503, voice, HandshakeRefused, False),
        ):
            self.http.answer(code, body)
            making = self.calls.make(CALLS, "ek_1", b"offer")
            why = self.failureResultOf(making, AgentUnavailable).value
            self.assertIs(type(why), kind)
            self.assertEqual(why.misconfigured, is_misconfigured)
            self.assertIn(f"calls with HTTP {code}", str(why))

    def test_the_wait_for_an_answer_is_limited(self) -> None:
        making = self.calls.make(CALLS, "ek_1", b"offer")
        self.clock.advance(60.0)
        self.failureResultOf(making, AgentUnavailable)
        self.http.answers.append(fail(ConnectionRefusedError()))
        self.failureResultOf(self.calls.make(CALLS, "ek_1", b"offer"), AgentUnavailable)

    @given(
        st.sampled_from((201, 503)),
        st.booleans(),
        st.lists(st.sampled_from(("answer", "cancel", "wait")), max_size=4),
    )
    def test_a_cancelled_request_leaves_no_call(
        self, code: int, is_slow: bool, acts: list[str]
    ) -> None:
        self.setUp()
        coming: Deferred[Any] = Deferred()
        self.http.answer(code, b"v=0", location="/v1/realtime/calls/rtc_1")
        (ready,) = self.http.answers
        self.http.answers = [coming]
        unwanted: list[Made] = []
        results: list[Any] = []
        making = self.calls.make(CALLS, "ek_1", b"offer", unwanted.append)
        making.addBoth(results.append)
        for act in acts:
            if act == "answer" and not coming.called:
                coming.callback(self.successResultOf(ready))
            elif act == "cancel":
                making.cancel()
            else:
                self.clock.advance(12.0 if is_slow else 1.0)
        wanted = [one for one in results if isinstance(one, Made)]
        # After a cancellation or a timeout, the call is reported here.
        self.assertLessEqual(len(wanted) + len(unwanted), 1)
        self.assertLessEqual(len(results), 1)
        before = acts[: acts.index("answer")] if "answer" in acts else None
        is_known = before is not None and not (is_slow and "wait" in before)
        is_made = is_known and code == 201
        self.assertEqual(len(wanted) + len(unwanted) == 1, is_made)
        if results and not wanted:
            self.assertIsInstance(results[0], Failure)
        making.cancel()
        if not coming.called:
            coming.errback(ConnectionRefusedError())
        self.successResultOf(Deferred.fromCoroutine(self.calls.close(2.0)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_waits_a_while_for_calls_being_hung_up(self) -> None:
        self.calls.hang_up(BASE, {"api-key": "k"}, "rtc_1")
        ((method, url, _, _),) = self.http.asked
        self.assertEqual((method, url), ("POST", f"{BASE}/calls/rtc_1/hangup"))
        closing = Deferred.fromCoroutine(self.calls.close(2.0))
        self.assertNoResult(closing)
        self.clock.advance(2.0)
        self.successResultOf(closing)
        self.assertTrue(self.http.is_closed)

    def test_a_failed_hang_up_has_no_consequences(self) -> None:
        for code in (200, 404, 500):
            self.http.answer(code, b"")
            self.calls.hang_up(BASE, {}, "rtc_1")
        self.successResultOf(Deferred.fromCoroutine(self.calls.close(2.0)))
