"""Calls of a Voice Connector."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.sip.message import Request
from tests.support.sip_peer import PEER, SDP, SipWorld

DONE = Ending(Outcome.COMPLETED, "done")


class VoiceConnectorTests(SynchronousTestCase):
    """The INVITE of real captures: private Contact, two Vias, To parameter."""

    INVITE = (
        "INVITE sip:+16185558387@192.0.2.10:5060;transport=UDP SIP/2.0\r\n"
        "Record-Route: <sip:198.51.100.13;lr;ftag=9eXmFya9j7Hpa"
        ";did=c71.2ee3;nat=yes>\r\n"
        "Via: SIP/2.0/UDP 198.51.100.13:5060;branch=z9hG4bKec37.25cad5b1953f.0\r\n"
        "Via: SIP/2.0/UDP 10.0.58.47;received=10.0.58.47;rport=5060"
        ";branch=z9hG4bKBa834aZp7Hy1r\r\n"
        "Max-Forwards: 69\r\n"
        "From: <sip:+18155558245@10.0.58.47:5060>;tag=9eXmFya9j7Hpa\r\n"
        "To: <sip:+16185558387@192.0.2.10:5060>;transport=UDP\r\n"
        "Call-ID: 39d6b15a-7688-4263-85ec-8409291a2b21\r\n"
        "CSeq: 52215685 INVITE\r\n"
        "Contact: <sip:10.0.58.47:5060;alias=10.0.58.47~5060~1>\r\n"
        "Content-Type: application/sdp\r\n"
        "X-VoiceConnector-ID: dr3rbaar376u5r4ntcnlq4\r\n"
        "X-Transaction-Id: 7f5b\r\nDiversion: <sip:+1@x>;reason=unconditional\r\n"
        "User-Agent: VineProx-v2.3\r\n"
        f"Content-Length: {len(SDP)}\r\n\r\n{SDP}"
    )
    SOURCE = ("198.51.100.13", 5060)

    def test_responses_copy_the_required_headers(self) -> None:
        world = SipWorld()
        world.say(self.INVITE, self.SOURCE)
        world.leg.answer()
        *_, ringing, answer = world.heard()
        for message in (ringing, answer):
            self.assertEqual(
                message.headers.getlist("Via")[1],
                "SIP/2.0/UDP 10.0.58.47;received=10.0.58.47;rport=5060"
                ";branch=z9hG4bKBa834aZp7Hy1r",
            )
            self.assertEqual(
                message.headers["Record-Route"],
                "<sip:198.51.100.13;lr;ftag=9eXmFya9j7Hpa;did=c71.2ee3;nat=yes>",
            )
            self.assertTrue(
                message.headers["To"].startswith(
                    "<sip:+16185558387@192.0.2.10:5060>;transport=UDP;tag="
                )
            )
        self.assertEqual(world.reactor.sent[-1][1], self.SOURCE)

    def test_the_bye_goes_to_the_edge_with_the_private_contact_as_its_uri(self) -> None:
        world = SipWorld()
        world.say(self.INVITE, self.SOURCE)
        world.leg.answer()
        tag = world.heard()[-1].to_tag
        ack = self.INVITE.partition("Content-Type")[0] + "Content-Length: 0\r\n\r\n"
        ack = ack.replace("INVITE sip", "ACK sip").replace("85 INVITE", "85 ACK")
        ack = ack.replace("f.0", "f.1").replace(
            ";transport=UDP\r\nCall", f";transport=UDP;tag={tag}\r\nCall"
        )
        world.say(ack, self.SOURCE)
        world.leg.hang_up(DONE)
        bye = world.heard()[-1]
        assert isinstance(bye, Request)
        self.assertEqual(bye.uri_text, "sip:10.0.58.47:5060;alias=10.0.58.47~5060~1")
        self.assertIn("198.51.100.13;lr", bye.headers["Route"])
        self.assertEqual(world.reactor.sent[-1][1], self.SOURCE)

    def test_without_a_route_a_private_contact_is_reached_by_its_flow(self) -> None:
        world = SipWorld()
        tag = world.established(headers="")
        leg = world.leg
        leg._dialog.dialog.remote_target = "sip:10.0.58.47:5070"
        leg.hang_up(DONE)
        self.assertEqual(world.reactor.sent[-1][1], PEER)
        self.assertTrue(tag)

    def test_its_headers_are_stored_and_not_trusted(self) -> None:
        world = SipWorld()
        world.say(self.INVITE, self.SOURCE)
        info = world.leg.info
        self.assertEqual(info.caller, "+18155558245")
        self.assertEqual(info.called, "+16185558387")
        self.assertEqual(info.carrier_call_id, "39d6b15a-7688-4263-85ec-8409291a2b21")
        self.assertEqual(info.stream_id, "7f5b")
        self.assertEqual(
            set(info.parameters),
            {"X-VoiceConnector-ID", "X-Transaction-Id", "Diversion"},
        )
        self.assertNotIn("+1815", repr(info))
        stranger = SipWorld()
        stranger.say(self.INVITE, ("203.0.113.5", 5060))
        self.assertEqual(stranger.reactor.sent, [])
