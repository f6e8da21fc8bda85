from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.cli.call_advice import advice

URL = "wss://gw.example:8443/stream"


class AdviceTests(SynchronousTestCase):
    def test_it_says_what_to_look_at(self) -> None:
        for error, code, has_secret, word in (
            ("", 4401, False, "set CHIMEGW_SHARED_SECRET"),
            ("", 4401, True, "is not the one of the gateway"),
            ("upgrade failed [403]: Forbidden", None, True, "CHIMEGW_SHARED_SECRET"),
            ("SSL error: certificate verify failed (in )", None, True, "gw.example"),
            ("SSL error: wrong version number (in )", None, True, "ws://"),
            ("Connection was refused by other side: 111", None, True, ":8443"),
            ("upgrade failed [404]: Not Found", None, True, "/stream/raw"),
        ):
            with self.subTest(error=error, code=code):
                found = advice(URL, error, code, has_secret=has_secret)
                self.assertIn(word, found)

    def test_of_what_is_well_it_says_nothing(self) -> None:
        self.assertEqual(advice(URL, "", 1000, has_secret=False), "")
        sip = "sip:+1555@127.0.0.1:5060"
        self.assertEqual(advice(sip, "403 Forbidden", 403, has_secret=False), "")
