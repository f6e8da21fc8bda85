"""Which requests make a call, of either dialect, and what is refused on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.webrtc.calls import Calls
from chime_gateway.agents.webrtc.places import Place, new_place
from chime_gateway.agents.websocket import HandshakeRefused
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.values import WEBRTC, DeploymentSettings
from tests.agents.webrtc.test_calls import Http

GA = DeploymentSettings(
    name="one", endpoint="https://r.example", deployment="m", transport=WEBRTC
)
PREVIEW = evolve(GA, api_version="2025-04-01-preview")
KEY = {"api-key": "k"}


def secret(value: str) -> bytes:
    return b'{"value":"%s","expires_at":99999999999}' % value.encode()


class Credential:
    """@ivar has_another: a refused one may have been replaced meanwhile."""

    def __init__(self) -> None:
        self.has_another = False
        self.refusals: list[Mapping[str, str]] = []

    def headers(self) -> Deferred[Mapping[str, str]]:
        return succeed(KEY)

    def refused(self, headers: Mapping[str, str]) -> bool:
        self.refusals.append(headers)
        return self.has_another


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.http = Http()
        self.clock = Clock()
        self.credential = Credential()
        self.calls = Calls(self.http, self.clock)  # type: ignore[arg-type]

    def place(self, settings: DeploymentSettings) -> Place:
        place = new_place(settings, self.credential, self.calls, self.clock)
        self.addCleanup(place.stop)
        return place

    def make(self, settings: DeploymentSettings) -> Deferred[Any]:
        place, profile = self.place(settings), AgentProfile(voice="cedar")
        return Deferred.fromCoroutine(place.make(settings, profile, b"offer", KEY))

    def asked(self) -> list[str]:
        """Each request: the end of its path, and what it is authorized by."""
        return [
            f"{url.partition('?')[0].rpartition('/')[2]}"
            f" {headers.get('authorization') or headers.get('api-key')}"
            for _, url, headers, _ in self.http.asked
        ]

    def test_a_call_is_made_with_a_secret_that_knows_model_and_voice(self) -> None:
        self.http.answer(200, secret("ek_1"))
        self.http.answer(201, b"answer", location="/v1/realtime/calls/rtc_1")
        made = self.successResultOf(self.make(GA))
        self.assertEqual((made.call_id, made.answer), ("rtc_1", b"answer"))
        self.assertEqual(self.asked(), ["client_secrets k", "calls Bearer ek_1"])
        minted, called = (body for _, _, _, body in self.http.asked)
        self.assertIn(b'"model":"m"', minted.replace(b" ", b""))
        self.assertIn(b'"voice":"cedar"', minted.replace(b" ", b""))
        self.assertEqual(called, b"offer")

    def test_a_secret_that_is_refused_is_replaced_once(self) -> None:
        self.http.answer(200, secret("ek_1"))
        self.http.answer(401, b"{}")
        self.http.answer(200, secret("ek_2"))
        self.http.answer(201, b"answer", location="/v1/realtime/calls/rtc_1")
        self.successResultOf(self.make(GA))
        self.assertEqual(self.asked()[1::2], ["calls Bearer ek_1", "calls Bearer ek_2"])

    def test_the_second_refusal_is_one_and_others_are_at_once(self) -> None:
        for statuses in ((401, 401), (404,)):
            self.setUp()
            for number, status in enumerate(statuses):
                self.http.answer(200, secret(f"ek_{number}"))
                self.http.answer(status, b"{}")
            why = self.failureResultOf(self.make(GA), HandshakeRefused).value
            self.assertEqual(why.status, statuses[-1])
            self.assertEqual(len(self.http.asked), 2 * len(statuses))

    def test_a_refused_key_is_a_fault_of_the_settings_unless_there_is_another(
        self,
    ) -> None:
        for settings in (GA, PREVIEW):
            for has_another in (False, True):
                self.setUp()
                self.credential.has_another = has_another
                self.http.answer(401, b"{}")
                why = self.failureResultOf(self.make(settings), HandshakeRefused).value
                self.assertEqual(why.misconfigured, not has_another)
                self.assertEqual(self.credential.refusals, [KEY])

    def test_of_the_preview_each_call_has_a_secret_of_its_own(self) -> None:
        place = self.place(PREVIEW)
        place.want(PREVIEW, AgentProfile())
        self.assertEqual(self.http.asked, [])
        for number in (1, 2):
            value = b'{"client_secret":{"value":"ek_%d","expires_at":1}}' % number
            self.http.answer(200, value)
            self.http.answer(201, b"answer")
            making = place.make(PREVIEW, AgentProfile(), b"offer", KEY)
            made = self.successResultOf(Deferred.fromCoroutine(making))
            self.assertEqual(made.call_id, "")
        self.assertEqual(
            [one.rpartition(" ")[2] for one in self.asked()],
            ["k", "ek_1", "k", "ek_2"],
        )
        # DTLS says that a call is over.
        place.hang_up(KEY, "")
        self.assertEqual(len(self.http.asked), 4)
