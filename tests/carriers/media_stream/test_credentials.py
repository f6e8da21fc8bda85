from __future__ import annotations

import base64
import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.media_stream.credentials import (
    StreamAuth,
    UpgradeRequest,
    Verdict,
    sign_token,
)
from tests.support.own_names import NAMES

SECRET = "a-secret-of-good-length"
NOW = 1_800_000_000
AUTH = StreamAuth(SECRET, "", "gw.example.com", lambda: NOW)


def verdict(auth: StreamAuth = AUTH, uri: str = "/stream", **headers: str) -> Verdict:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = UpgradeRequest({"host": "10.0.0.1:80", **names}, uri, "10.0.0.1")
    return auth.check_upgrade(request)


def twilio_signature(key: str, url: str) -> str:
    digest = hmac.new(key.encode(), url.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


class StreamAuthTests(SynchronousTestCase):
    def test_each_credential_is_accepted(self) -> None:
        token = sign_token(SECRET, NOW + 60)
        self.assertIs(verdict(authorization=f"Bearer {SECRET}"), Verdict.GRANTED)
        self.assertIs(verdict(authorization=f"bearer {token}"), Verdict.GRANTED)
        self.assertIs(verdict(x_gateway_secret=SECRET), Verdict.GRANTED)
        self.assertIs(verdict(uri=f"/stream?a=b&token={token}"), Verdict.GRANTED)

    def test_wrong_credentials_are_denied_and_no_credentials_are_missing(self) -> None:
        self.assertIs(verdict(authorization="Bearer wrong"), Verdict.DENIED)
        self.assertIs(verdict(authorization="Bearer "), Verdict.DENIED)
        self.assertIs(verdict(x_gateway_secret=""), Verdict.DENIED)
        self.assertIs(verdict(uri="/stream?token=v1.9999999999.x"), Verdict.DENIED)
        self.assertIs(verdict(), Verdict.MISSING)
        self.assertIs(verdict(authorization="Basic abc"), Verdict.MISSING)

    def test_a_token_expires_and_cannot_be_extended(self) -> None:
        token = sign_token(SECRET, NOW)
        self.assertFalse(AUTH.is_token(token))
        version, _, signature = token.split(".")
        self.assertFalse(AUTH.is_token(f"{version}.{NOW + 999}.{signature}"))
        self.assertFalse(AUTH.is_token(sign_token("another-secret-here", NOW + 60)))
        self.assertTrue(AUTH.is_token(sign_token(SECRET, NOW + 1)))

    @given(st.text())
    def test_a_malformed_token_is_rejected(self, text: str) -> None:
        self.assertFalse(AUTH.is_token(text))

    @given(
        st.sampled_from(("10.0.0.1:80", "other.example.com", "gw.example.com")),
        st.sampled_from(("10.0.0.1:80", "other.example.com", "gw.example.com")),
        st.sampled_from(("wss", "https", "ws", "http")),
        st.sampled_from(("", "gw.example.com")),
    )
    def test_twilios_signature_is_for_the_configured_host(
        self, host: str, signed: str, scheme: str, configured: str
    ) -> None:
        auth = StreamAuth("", "twilio-account-token", configured, lambda: NOW)
        signature = twilio_signature("twilio-account-token", f"{scheme}://{signed}/x")
        found = verdict(auth, "/x", host=host, x_twilio_signature=signature)
        is_good = bool(configured) and signed == configured
        self.assertIs(found, Verdict.GRANTED if is_good else Verdict.DENIED)

    def test_twilios_signature_is_over_all_of_the_url(self) -> None:
        auth = StreamAuth(SECRET, "twilio-account-token", "gw.example.com", lambda: NOW)
        for url in ("wss://gw.example.com/stream", "https://gw.example.com/stream/"):
            with self.subTest(url=url):
                good = twilio_signature("twilio-account-token", url)
                self.assertIs(verdict(auth, x_twilio_signature=good), Verdict.GRANTED)
        bad = twilio_signature("stranger", "wss://gw.example.com/stream")
        elsewhere = twilio_signature("twilio-account-token", "wss://evil.test/stream")
        for signature in (bad, elsewhere, ""):
            self.assertIs(verdict(auth, x_twilio_signature=signature), Verdict.DENIED)

    def test_without_twilios_key_the_shared_secret_is_tried(self) -> None:
        good = twilio_signature(SECRET, "wss://gw.example.com/stream")
        self.assertIs(verdict(x_twilio_signature=good), Verdict.GRANTED)
        # If the signature cannot be checked, the token in start decides.
        self.assertIs(verdict(x_twilio_signature="?"), Verdict.MISSING)

    def test_without_a_secret_web_pages_of_other_sites_are_refused(self) -> None:
        auth = StreamAuth("", "", "", lambda: NOW)
        self.assertIs(verdict(auth), Verdict.GRANTED)
        self.assertIs(verdict(auth, origin="http://10.0.0.1:80"), Verdict.GRANTED)
        self.assertIs(verdict(auth, origin="https://evil.test"), Verdict.DENIED)

    @given(
        name=NAMES,
        port=st.sampled_from(("", ":80", ":8080")),
        page=st.sampled_from(("", "http://", "https://")),
        is_same=st.booleans(),
    )
    def test_without_a_secret_only_names_of_this_machine_are_accepted(
        self, name: tuple[str, bool], port: str, page: str, is_same: bool
    ) -> None:
        auth = StreamAuth("", "", "gw.example.com", lambda: NOW)
        host = name[0] + port
        origin = page + (host if is_same else "evil.test")
        headers = {"host": host, **({"origin": origin} if page else {})}
        is_let_in = name[1] and (is_same or not page)
        self.assertIs(
            verdict(auth, **headers), Verdict.GRANTED if is_let_in else Verdict.DENIED
        )

    @given(st.text(), st.text())
    def test_no_host_or_origin_causes_an_error(self, host: str, origin: str) -> None:
        auth = StreamAuth("", "", "", lambda: NOW)
        for uri in ("/stream", "//[", f"/stream?{host}"):
            verdict(auth, uri, host=host, origin=origin)
            verdict(AUTH, uri, host=host, origin=origin)

    def test_without_a_secret_no_token_is_accepted(self) -> None:
        auth = StreamAuth("", "", "", lambda: NOW)
        self.assertFalse(auth.is_token(sign_token("", NOW + 60)))

    def test_no_secret_is_in_a_repr(self) -> None:
        self.assertNotIn(SECRET, repr(AUTH))
