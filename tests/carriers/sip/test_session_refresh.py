"""Session timers (RFC 4028)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Outcome
from chime_gateway.wire.sip.message import Request, Response
from tests.support.sip_peer import SDP, SipWorld


class SessionTimerTests(SynchronousTestCase):
    TIMER = "Supported: timer\r\nSession-Expires: 100;refresher=uac\r\n"

    def test_the_caller_has_to_refresh(self) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        world.invite(headers=self.TIMER)
        world.leg.answer()
        answer = world.heard()[-1]
        self.assertEqual(answer.headers["Session-Expires"], "100;refresher=uac")
        self.assertEqual(answer.headers["Require"], "timer")
        tag = answer.to_tag
        world.say(world.request("ACK", to_tag=tag, cseq=1))
        world.advance(60, 0.5)
        self.assertEqual(world.asks("UPDATE", tag, headers=self.TIMER).status, 200)
        world.advance(67, 0.5)
        self.assertEqual(world.heard(), [])
        world.advance(1.0, 0.5)
        self.assertEqual([m.cseq_method for m in world.heard()], ["BYE"])
        self.assertIn("not refreshed", world.log[-1][1].reason)

    def test_the_gateway_refreshes_if_the_caller_cannot(self) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        world.established(headers="Session-Expires: 100\r\nAllow: UPDATE, INVITE\r\n")
        world.advance(50.1, 0.1)
        update = world.heard()[-1]
        assert isinstance(update, Request)
        self.assertEqual(update.method, "UPDATE")
        self.assertEqual(update.headers["Session-Expires"], "100;refresher=uac")
        world.answer(update, 200)
        world.advance(49, 0.1)
        self.assertEqual(world.heard(), [])
        world.advance(1.2, 0.1)
        self.assertEqual([m.cseq_method for m in world.heard()], ["UPDATE"])

    def test_without_update_the_gateway_refreshes_with_the_same_offer(self) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        world.established(headers="Session-Expires: 100\r\n")
        world.advance(50.1, 0.1)
        invite = world.heard()[-1]
        assert isinstance(invite, Request)
        self.assertEqual(invite.method, "INVITE")
        # Meanwhile the peer must not send an offer.
        tag = invite.from_tag
        self.assertEqual(world.asks("INVITE", tag, body=SDP).status, 491)
        world.answer(invite, 200, body=SDP)
        ack = world.heard()[-1]
        self.assertEqual((ack.cseq_method, ack.cseq), ("ACK", invite.cseq))
        self.assertEqual(world.ports.in_use, 1)

    def test_a_session_that_the_peer_no_longer_knows_is_over(self) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        world.established(headers="Session-Expires: 100\r\nAllow: UPDATE\r\n")
        world.advance(50.1, 0.1)
        update = world.heard()[-1]
        assert isinstance(update, Request)
        world.answer(update, 481)
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_LOST)
        self.assertEqual(world.ports.in_use, 0)

    def test_a_longer_interval_of_the_peer_is_accepted(self) -> None:
        world = SipWorld(media_timeout_seconds=1e6)
        world.established(headers="Session-Expires: 100\r\nAllow: UPDATE\r\n")
        world.advance(50.1, 0.1)
        update = world.heard()[-1]
        assert isinstance(update, Request)
        world.answer(update, 422, headers="Min-SE: 400\r\n")
        again = world.heard()[-1]
        assert isinstance(again, Request)
        self.assertEqual(again.headers["Session-Expires"], "400;refresher=uac")
        self.assertEqual(again.headers["Min-SE"], "400")
        world.answer(again, 200, headers="Session-Expires: 400;refresher=uac\r\n")
        world.advance(199, 0.5)
        self.assertEqual(world.heard(), [])
        world.advance(1.2, 0.1)
        self.assertEqual([m.cseq_method for m in world.heard()], ["UPDATE"])

    def test_a_peer_without_update_gets_a_reinvite(self) -> None:
        world = SipWorld(media_timeout_seconds=1e6)
        world.established(headers="Session-Expires: 100\r\nAllow: UPDATE\r\n")
        world.advance(50.1, 0.1)
        update = world.heard()[-1]
        assert isinstance(update, Request)
        world.answer(update, 501)
        self.assertEqual([m.cseq_method for m in world.heard()], ["INVITE"])

    def test_a_too_short_interval_is_refused_with_the_minimum(self) -> None:
        world = SipWorld()
        world.invite(headers="Supported: timer\r\nSession-Expires: 30\r\n")
        answer = world.heard()[-1]
        assert isinstance(answer, Response)
        self.assertEqual((answer.status, answer.headers["Min-SE"]), (422, "90"))
        world.invite(
            headers="Session-Expires: soon\r\n", call_id="2", branch="z9hG4bKother"
        )
        self.assertEqual(world.statuses()[-1], 400)
