from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.sip.message import BadMessage
from chime_gateway.wire.sip.session_timer import (
    SessionTimer,
    TooSmall,
    accepted_timer,
    answer_timer,
    min_se,
)
from tests.wire.sip.test_dialog import answer, invite


class SessionTimerTests(SynchronousTestCase):
    def test_the_refresher_is_negotiated(self) -> None:
        for extra, we_refresh, requires in (
            ("Session-Expires: 600\r\n", True, False),
            ("Supported: timer\r\nSession-Expires: 600\r\n", False, True),
            ("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n", True, False),
            ("Require: timer\r\nx: 600 ; refresher = UAC\r\n", False, True),
        ):
            timer, headers = answer_timer(invite(extra), 90)
            self.assertEqual(timer, SessionTimer(600, we_refresh))
            self.assertEqual(("Require", "timer") in headers, requires)
        self.assertEqual(answer_timer(invite(), 90), (None, ()))

    def test_refresh_and_expiry_times(self) -> None:
        self.assertEqual(SessionTimer(600, True).refresh_after, 300)
        self.assertEqual(SessionTimer(600, False).give_up_after, 568)
        self.assertEqual(SessionTimer(90, False).give_up_after, 60)

    def test_malformed_values_are_rejected(self) -> None:
        with self.assertRaises(TooSmall):
            answer_timer(invite("Session-Expires: 60\r\n"), 90)
        with self.assertRaises(BadMessage):
            answer_timer(invite("Session-Expires: x\r\n"), 90)

    def test_the_answer_to_our_timer_is_read(self) -> None:
        self.assertIsNone(accepted_timer(answer()))
        timer = accepted_timer(answer("Session-Expires: 200;refresher=uas\r\n"))
        self.assertEqual(timer, SessionTimer(200, False))
        self.assertEqual(min_se(answer("Min-SE: 120\r\n")), 120)
        self.assertIsNone(min_se(answer("Min-SE: x\r\n")))
