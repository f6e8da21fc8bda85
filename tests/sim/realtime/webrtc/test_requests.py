"""The HTTP requests for calls over WebRTC, as clients see them."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.reading import with_fault
from chime_gateway.sim.realtime.faults.which import FIRST
from chime_gateway.sim.realtime.server import Door
from tests.support.webrtc_client import CALLS, KEY, SECRETS, Client, Listener, offer

WHISPER = {"model": "whisper-1"}
FORM = "multipart/form-data; boundary=x"
FORM_BODY = (
    b'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n\r\n--x--\r\n'
)


def client(*faults: str, **door: object) -> Client:
    behaviour = Behaviour()
    for fault in faults:
        behaviour = with_fault(behaviour, fault)
    found = {"api_keys": frozenset({KEY}), "deployments": frozenset({"d"}), **door}
    return Client(behaviour, Door(**found))  # type: ignore[arg-type]


class MintTests(SynchronousTestCase):
    def test_an_api_key_mints_a_secret_with_the_session(self) -> None:
        session = {"type": "realtime", "model": "d", "instructions": "Be brief."}
        status, body = client().mint(session=session)
        self.assertEqual(status, 200)
        self.assertRegex(body["value"], "^ek_")
        self.assertEqual(body["session"]["instructions"], "Be brief.")

    def test_a_secret_is_valid_for_the_requested_time(self) -> None:
        usual = client().mint()[1]["expires_at"]
        after = {"anchor": "created_at", "seconds": 10}
        self.assertLess(client().mint(expires_after=after)[1]["expires_at"], usual)
        for bad in ({"seconds": 9}, {"seconds": 7201}, {"anchor": "x"}, {"s": 1}, 5):
            with self.subTest(bad=bad):
                self.assertEqual(client().mint(expires_after=bad)[0], 400)

    def test_minting_needs_an_api_key(self) -> None:
        subject = client()
        secret = subject.mint()[1]["value"]
        for key in ("wrong", "", secret):
            with self.subTest(key=key):
                self.assertEqual(subject.mint(key)[0], 401)

    def test_an_invalid_session_is_refused(self) -> None:
        subject = client()
        for session, status, code in (
            ({"model": "d"}, 400, "InvalidSessionType"),
            ({"type": "transcription", "model": "d"}, 400, "InvalidSessionType"),
            ({"type": "realtime"}, 404, "DeploymentNotFound"),
            ({"type": "realtime", "model": "x"}, 404, "DeploymentNotFound"),
            ({"type": "realtime", "model": "d", "x": 1}, 400, "unknown_parameter"),
            (None, 400, "missing_required_parameter"),
        ):
            with self.subTest(session=session):
                found, body = subject.mint(session=session)
                self.assertEqual((found, body["error"]["code"]), (status, code))
        self.assertEqual(subject.mint(more=1)[0], 400)
        status, _, _ = subject.ask(SECRETS, b"{}", api_key=KEY, Content_Type="text/x")
        self.assertEqual(status, 400)

    def test_a_transcription_at_minting_fails_unless_it_is_allowed(self) -> None:
        audio = {"input": {"transcription": WHISPER}}
        session = {"type": "realtime", "model": "d", "audio": audio}
        self.assertEqual(client().mint(session=session)[0], 500)
        allowed = client("minted_transcription")
        self.assertEqual(allowed.mint(session=session)[0], 200)


class CallTests(SynchronousTestCase):
    def test_a_secret_opens_several_calls(self) -> None:
        subject = client()
        secret = subject.mint()[1]["value"]
        for _ in range(3):
            status, headers, body = subject.offer(secret=secret)
            self.assertEqual(status, 201)
            self.assertRegex(headers["location"], "^/v1/realtime/calls/rtc_[^/]+$")
            self.assertEqual(headers["content-type"], "application/sdp")
            self.assertTrue(body.startswith(b"v=0\r\n"))
        self.assertEqual(len(subject.factory.sessions), 3)

    def test_an_offer_with_the_api_key_is_refused(self) -> None:
        subject = client()
        headers: dict[str, str]
        for headers in ({"api_key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            for kind, body in (("application/sdp", offer(subject)), (FORM, FORM_BODY)):
                found = subject.ask(CALLS, body, Content_Type=kind, **headers)
                self.assertEqual(found[0], 401)
                self.assertEqual(
                    json.loads(found[2])["error"]["message"],
                    "Realtime session ephemeral token is required.",
                )

    def test_an_invalid_offer_is_refused(self) -> None:
        subject = client()
        self.assertEqual(subject.offer(b"v=0\r\n")[0], 400)
        self.assertEqual(subject.offer(b"")[0], 400)
        self.assertEqual(subject.offer(FORM_BODY, Content_Type=FORM)[0], 400)
        self.assertEqual(subject.factory.sessions, [])

    def test_an_unknown_or_expired_secret_is_refused(self) -> None:
        subject = client("secret_expired=1-2")
        self.assertEqual(subject.offer(secret="ek_invented")[0], 401)
        self.assertEqual(subject.offer()[0], 401)
        self.assertEqual(subject.offer()[0], 201)

    def test_the_location_can_be_missing(self) -> None:
        status, headers, _ = client("no_location").offer()
        self.assertEqual(status, 201)
        self.assertNotIn("location", headers)

    def test_the_location_does_not_exist_as_on_azure(self) -> None:
        subject = client()
        call = subject.dial()
        path = f"/v1/realtime/calls/{call.id}/hangup"
        self.assertEqual(subject.ask(path, api_key=KEY)[0], 404)
        self.assertEqual(call.ended, "")

    def test_a_call_is_hung_up_once(self) -> None:
        subject = client()
        call = subject.dial()
        path = f"{CALLS}/{call.id}/hangup"
        self.assertEqual(subject.ask(path, api_key="wrong")[0], 401)
        self.assertEqual(subject.ask(path, api_key=KEY)[::2], (200, b""))
        self.assertEqual(call.ended, "hung up")
        self.assertEqual(subject.listener.ends, [1000])
        status, _, body = subject.ask(path, api_key=KEY)
        self.assertEqual(status, 404)
        self.assertEqual(json.loads(body)["error"]["code"], "call_id_not_found")

    def test_the_preview_is_refused_as_not_simulated(self) -> None:
        for path in (
            "/openai/realtimeapi/sessions?api-version=2025-04-01-preview",
            "/v1/realtimertc?model=d",
        ):
            with self.subTest(path=path):
                status, _, body = client().ask(path, api_key=KEY)
                self.assertEqual(status, 501)
                self.assertIn("data channel", json.loads(body)["error"]["message"])

    def test_the_door_treats_requests_as_it_does_handshakes(self) -> None:
        refusing = client(refuse_status=429, retry_after_seconds=7, which=FIRST)
        status, headers, _ = refusing.ask(SECRETS, api_key=KEY)
        self.assertEqual((status, headers["retry-after"]), (429, "7"))
        self.assertEqual(refusing.mint()[0], 200)
        self.assertEqual(client(is_silent=True).ask(SECRETS, api_key=KEY)[0], 0)
        self.assertEqual(client(breaks=True).ask(SECRETS, api_key=KEY)[0], -1)


class SidebandDoorTests(SynchronousTestCase):
    def upgrade(self, subject: Client, call_id: str, key: str = KEY) -> int:
        return subject.ask(
            f"/openai/v1/realtime?call_id={call_id}",
            method="GET",
            api_key=key,
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        )[0]

    def test_the_first_sideband_attempts_can_be_refused(self) -> None:
        subject = client("sideband_refusals=2")
        call = subject.dial(has_sideband=False)
        found = [self.upgrade(subject, call.id) for _ in range(3)]
        self.assertEqual(found, [404, 404, 101])

    def test_sidebands_can_be_refused(self) -> None:
        subject = client("no_sideband")
        call = subject.dial(has_sideband=False)
        self.assertEqual({self.upgrade(subject, call.id) for _ in range(5)}, {404})

    def test_a_sideband_needs_an_api_key_and_a_call(self) -> None:
        subject = client()
        call = subject.dial(has_sideband=False)
        self.assertEqual(self.upgrade(subject, call.id, "wrong"), 401)
        self.assertEqual(self.upgrade(subject, "rtc_invented"), 404)
        self.assertEqual(self.upgrade(subject, call.id), 101)
        self.assertEqual(len(subject.factory.sessions), 1)

    def test_a_later_sideband_is_greeted_alone_and_the_call_continues(self) -> None:
        subject = client()
        call = subject.dial()
        second = Listener()
        call.attach(second)
        self.assertEqual(second.kinds(), ["session.created"])
        self.assertEqual(subject.listener.kinds().count("session.created"), 1)
        call.detach(subject.listener)
        call.detach(second)
        self.assertEqual(call.ended, "")
        self.assertFalse(call.session.is_over)
