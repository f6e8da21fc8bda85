"""Transfers: by REFER, or by the SIP media application."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import TransferFailed
from chime_gateway.outcomes import CallerInfo
from chime_gateway.wire.sip.message import Request
from tests.support.sip_peer import SipWorld


class TransferTests(SynchronousTestCase):
    def test_a_peer_that_supports_refer_is_transferred_by_it(self) -> None:
        world = SipWorld()
        tag = world.established(headers="Allow: INVITE, REFER\r\n")
        done = world.leg.transfer("+15550199")
        refer = world.heard()[-1]
        assert isinstance(refer, Request)
        self.assertEqual(refer.method, "REFER")
        self.assertEqual(refer.headers["Refer-To"], "<sip:+15550199@198.51.100.7>")
        world.answer(refer, 202)
        kind = "message/sipfrag"
        answer = world.asks(
            "NOTIFY", tag, body="SIP/2.0 180 Ringing", content_type=kind
        )
        self.assertEqual(answer.status, 200)
        self.assertNoResult(done)
        world.asks("NOTIFY", tag, body="SIP/2.0 200 OK", content_type=kind)
        self.assertIsNone(self.successResultOf(done))

    def test_a_ringing_call_cannot_be_transferred(self) -> None:
        world = SipWorld()
        world.invite(headers="Allow: REFER\r\n")
        world.heard()
        self.failureResultOf(world.leg.transfer("+15550199"), TransferFailed)
        self.assertEqual(world.heard(), [])

    def test_a_bye_during_a_transfer_is_its_success(self) -> None:
        world = SipWorld()
        tag = world.established(headers="Allow: REFER\r\n")
        done = world.leg.transfer("sip:desk@198.51.100.20")
        world.asks("BYE", tag)
        self.assertIsNone(self.successResultOf(done))

    def test_after_a_failed_transfer_the_call_goes_on(self) -> None:
        world = SipWorld()
        tag = world.established(headers="Allow: REFER\r\n")
        done = world.leg.transfer("+15550199")
        refer = world.heard()[-1]
        assert isinstance(refer, Request)
        world.answer(refer, 603)
        self.assertIn("603", str(self.failureResultOf(done, TransferFailed).value))
        done = world.leg.transfer("+15550199")
        world.answer(world.heard()[-1], 202)  # type: ignore[arg-type]
        world.asks(
            "NOTIFY", tag, body="SIP/2.0 486 Busy", content_type="message/sipfrag"
        )
        self.assertIn("486", str(self.failureResultOf(done, TransferFailed).value))
        done = world.leg.transfer("+15550199")
        world.advance(61, 0.5)
        self.failureResultOf(done, TransferFailed)

    def controlled(
        self, asking: Deferred[None]
    ) -> tuple[SipWorld, str, list[tuple[CallerInfo, str]]]:
        """A call of a SIP media application, and the requested transfers."""
        asked: list[tuple[CallerInfo, str]] = []

        class Seam:
            def transfer(self, info: CallerInfo, target: str) -> Deferred[None]:
                asked.append((info, target))
                return asking

        world = SipWorld(transfers=Seam())
        return world, world.established(), asked

    def test_without_refer_the_application_is_asked(self) -> None:
        world, tag, asked = self.controlled(succeed(None))
        done = world.leg.transfer("sales")
        self.assertEqual([target for _, target in asked], ["sales"])
        # It was accepted.  A BYE now would end the caller's leg as well.
        self.assertNoResult(done)
        self.failureResultOf(world.leg.transfer("again"), TransferFailed)
        world.asks("BYE", tag)
        self.assertIsNone(self.successResultOf(done))

    def test_after_a_transfer_that_never_comes_the_call_goes_on(self) -> None:
        world, tag, _ = self.controlled(succeed(None))
        done = world.leg.transfer("sales")
        world.advance(21, 0.5)
        self.failureResultOf(done, TransferFailed)
        self.assertEqual(world.asks("OPTIONS", tag).status, 200)

    def test_a_refused_transfer_has_a_reason(self) -> None:
        world, _, _ = self.controlled(fail(TransferFailed("no X-Transaction-Id")))
        failure = self.failureResultOf(world.leg.transfer("sales"), TransferFailed)
        self.assertIn("no X-Transaction-Id", str(failure.value))

    def test_without_refer_and_application_there_is_no_transfer(self) -> None:
        plain = SipWorld()
        plain.established()
        self.failureResultOf(plain.leg.transfer("sales"), TransferFailed)
