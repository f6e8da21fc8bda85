from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.cli.call_advice import advice

URL = "wss://gw.example:8443/stream"


class AdviceTests(SynchronousTestCase):
    def test_a_failed_call_gets_advice_by_its_error(self) -> None:
        for error, code, has_secret, word in (
            ("", 4401, False, "set CHIMEGW_SHARED_SECRET"),
            ("", 4401, True, "differs from the gateway's"),
            ("upgrade failed [403]: Forbidden", None, True, "CHIMEGW_SHARED_SECRET"),
            ("SSL error: certificate verify failed (in )", None, True, "gw.example"),
            ("SSL error: wrong version number (in )", None, True, "ws://"),
            ("Connection was refused by other side: 111", None, True, ":8443"),
            ("upgrade failed [404]: Not Found", None, True, "/stream/raw"),
        ):
            with self.subTest(error=error, code=code):
                found = advice(URL, error, code, has_secret=has_secret)
                self.assertIn(word, found)

    def test_a_successful_call_and_a_refusal_over_sip_get_no_advice(self) -> None:
        self.assertEqual(advice(URL, "", 1000, has_secret=False), "")

    def test_over_sip_there_is_another_secret(self) -> None:
        sip = "sip:+1555@127.0.0.1:5060"
        for error, has_call_secret, word in (
            ("403 Forbidden", False, "set CHIMEGW_CALL_SECRET"),
            ("403 Forbidden", True, "CHIMEGW_CALL_SECRET differs"),
            ("408 the gateway does not answer", True, "at 127.0.0.1:5060,"),
            ("408 the gateway does not answer", True, ";transport=tcp"),
        ):
            found = advice(
                sip, error, 0, has_secret=True, has_call_secret=has_call_secret
            )
            self.assertIn(word, found)
