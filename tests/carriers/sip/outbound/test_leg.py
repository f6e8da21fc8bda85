"""Outbound calls: dialled, challenged, answered, refused, given up."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import CallRefused
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.message import Request
from tests.support.sip_peer import MEDIA, PEER, SDP, SipWorld

TRUNK = SipTrunk(
    host="abc.voiceconnector.chime.aws",
    from_number="+12065550100",
    username="user",
    password="secret",
)
CHALLENGE = (
    'Proxy-Authenticate: Digest realm="chime", nonce="n0nce", qop="auth",'
    " algorithm=MD5\r\n"
)


class OutboundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = SipWorld(trunk=TRUNK)
        self.world.reactor.names[TRUNK.host] = PEER[0]

    def dialled(self) -> tuple[Any, Deferred[None], Request]:
        leg = self.world.carrier.dial("+15550199")
        done = leg.dial()
        return leg, done, self.request("INVITE")

    def request(self, method: str) -> Request:
        message = self.world.heard()[-1]
        assert isinstance(message, Request) and message.method == method, message
        return message

    def test_an_answer_is_acknowledged_and_media_flows(self) -> None:
        world = self.world
        _, done, invite = self.dialled()
        self.assertEqual(
            invite.uri_text, "sip:+15550199@abc.voiceconnector.chime.aws:5060"
        )
        self.assertEqual(invite.from_address.uri.user, "+12065550100")
        self.assertIn(b"m=audio 40000 RTP/AVP 0 8 101\r\n", invite.body)
        self.assertEqual(world.reactor.sent[-1][1], PEER)
        world.answer(invite, 100, tag="")
        world.answer(invite, 180)
        self.assertNoResult(done)
        world.answer(
            invite, 200, body=SDP, headers="Record-Route: <sip:198.51.100.3;lr>\r\n"
        )
        self.assertIsNone(self.successResultOf(done))
        ack = self.request("ACK")
        self.assertEqual(ack.cseq, invite.cseq)
        self.assertNotEqual(ack.branch, invite.branch)
        self.assertEqual(ack.headers["Route"], "<sip:198.51.100.3;lr>")
        world.advance(0.1)
        self.assertEqual({to for _, to in world.port.sent}, {MEDIA})
        # A repeated 200 means that the ACK was lost.
        world.answer(invite, 200, body=SDP)
        self.assertEqual(self.request("ACK").cseq, invite.cseq)

    def test_at_most_two_challenges_are_answered(self) -> None:
        world = self.world
        _, _, invite = self.dialled()
        world.answer(invite, 407, headers=CHALLENGE)
        ack, again = world.heard()[-2:]
        assert isinstance(again, Request) and isinstance(ack, Request)
        self.assertEqual((ack.method, ack.branch), ("ACK", invite.branch))
        self.assertEqual(again.cseq, invite.cseq + 1)
        credentials = again.headers["Proxy-Authorization"]
        self.assertIn('username="user"', credentials)
        self.assertIn("nc=00000001", credentials)
        self.assertNotIn("secret", credentials)
        world.answer(again, 407, headers=CHALLENGE.replace("n0nce", "other"))
        world.answer(
            self.request("INVITE"), 407, headers=CHALLENGE.replace("n0nce", "third")
        )
        self.assertEqual(world.log[-1][1].outcome, Outcome.UNANSWERED)
        self.assertEqual(world.ports.in_use, 0)

    def test_busy_is_reported_and_resources_are_released(self) -> None:
        world = self.world
        _, done, invite = self.dialled()
        world.answer(invite, 486)
        self.assertEqual(self.request("ACK").branch, invite.branch)
        self.assertEqual(
            world.log[-1], ("leg_ended", Ending(Outcome.UNANSWERED, "486 Whatever"))
        )
        self.assertNoResult(done)
        world.advance(40, 0.5)
        self.assertEqual(set(world.carrier.counts().values()), {0})
        self.assertEqual(world.reactor.getDelayedCalls(), [])

    def test_without_any_response_the_call_ends(self) -> None:
        world = self.world
        self.dialled()
        world.advance(33, 0.5)
        self.assertEqual(world.log[-1][1].outcome, Outcome.UNANSWERED)
        invites = [m for m in world.heard() if m.cseq_method == "INVITE"]
        self.assertEqual(len(invites), 6)  # 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s

    def test_ringing_has_a_time_limit(self) -> None:
        world = self.world
        _, _, invite = self.dialled()
        world.answer(invite, 180)
        world.advance(60.5, 0.5)
        cancel = world.heard()[-1]
        assert isinstance(cancel, Request)
        self.assertEqual((cancel.method, cancel.branch), ("CANCEL", invite.branch))
        self.assertIn("60 s", world.log[-1][1].reason)
        self.assertEqual(world.ports.in_use, 0)
        world.answer(cancel, 200)
        world.answer(invite, 487)
        self.assertEqual(self.request("ACK").branch, invite.branch)

    def test_a_cancel_waits_for_the_first_response(self) -> None:
        world = self.world
        leg, _, invite = self.dialled()
        leg.hang_up(Ending(Outcome.AGENT_LOST, "gone"))
        self.assertEqual(world.heard(), [])
        world.answer(invite, 100, tag="")
        self.request("CANCEL")

    def test_an_answer_that_crosses_the_cancel_is_hung_up(self) -> None:
        world = self.world
        _, done, invite = self.dialled()
        world.answer(invite, 180)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.request("CANCEL")
        world.answer(invite, 200, body=SDP)
        methods = [m.cseq_method for m in world.heard()]
        self.assertEqual(methods, ["ACK", "BYE"])

    def test_a_second_branch_that_answers_is_hung_up(self) -> None:
        world = self.world
        _, _, invite = self.dialled()
        world.answer(invite, 200, body=SDP)
        world.heard()
        world.answer(invite, 200, body=SDP, tag="second")
        ack, bye = world.heard()
        self.assertEqual((ack.cseq_method, ack.to_tag), ("ACK", "second"))
        self.assertEqual((bye.cseq_method, bye.to_tag), ("BYE", "second"))
        self.assertEqual(world.ports.in_use, 1)

    def test_early_media_opens_the_path_and_is_not_heard_by_the_agent(self) -> None:
        world = self.world
        _, done, invite = self.dialled()
        world.answer(invite, 183, body=SDP)
        world.advance(0.1)
        self.assertEqual({to for _, to in world.port.sent}, {MEDIA})
        packet = bytes.fromhex("80000001000000a000000001") + b"\x10" * 160
        world.port.receive_rtp(packet, MEDIA)
        world.answer(invite, 200)
        self.successResultOf(done)
        world.advance(0.1)
        spoken = world.switchboard.call.audio.strip(b"\xff")
        self.assertEqual(spoken, b"")
        world.port.receive_rtp(packet.replace(b"\0\1\0\0", b"\0\2\0\0", 1), MEDIA)
        self.assertIn(b"\x10" * 160, world.switchboard.call.audio)

    def test_a_2xx_without_a_usable_answer_ends_the_call(self) -> None:
        world = self.world
        self.dialled()
        invite = world.reactor.sent[-1]
        self.assertTrue(invite)
        world.answer(self.last_invite(), 200, body=SDP.replace("AVP 0", "AVP 3"))
        self.assertEqual([m.cseq_method for m in world.heard()[-2:]], ["ACK", "BYE"])
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_PROTOCOL_ERROR)

    def last_invite(self) -> Request:
        from chime_gateway.wire.sip.parser import parse

        message = parse(self.world.reactor.sent[-1][0])
        assert isinstance(message, Request)
        return message

    def test_a_too_small_interval_is_repeated_with_a_longer_one(self) -> None:
        world = self.world
        _, _, invite = self.dialled()
        world.answer(invite, 422, headers="Min-SE: 3600\r\n")
        again = self.request("INVITE")
        self.assertEqual(again.headers["Session-Expires"], "3600")
        self.assertEqual(again.headers["Min-SE"], "3600")

    def test_invalid_numbers_are_refused_with_the_reason(self) -> None:
        with self.assertRaises(CallRefused):
            SipWorld().carrier.dial("+15550199")
        for number in ("", "sip:x@y", "+1\r\n", "12345678901234567890123456789012345"):
            with self.assertRaises(CallRefused):
                self.world.carrier.dial(number)
        self.world.switchboard.raises = CallRefused("full")
        with self.assertRaises(CallRefused):
            self.world.carrier.dial("+15550199")
        self.assertEqual(self.world.carrier.counts()["legs"], 0)

    def test_an_unreachable_trunk_is_reported(self) -> None:
        world = self.world
        stranger = "203.0.113.1"
        seen = world.reactor.network.name(stranger)
        for address, why in (
            (None, f"there is no host {TRUNK.host}"),
            (stranger, f"sip.allow does not have {TRUNK.host} ({seen})"),
        ):
            world.reactor.names = {} if address is None else {TRUNK.host: address}
            leg = world.carrier.dial("+15550199")
            leg.dial()
            self.assertEqual(why, world.log[-1][1].reason)
        world.reactor.names = {TRUNK.host: PEER[0]}
        world.ports.is_empty = True
        world.carrier.dial("+15550199").dial()
        self.assertIn("port", world.log[-1][1].reason)

    def test_the_peer_hangs_up(self) -> None:
        world = self.world
        _, _, invite = self.dialled()
        world.answer(invite, 200, body=SDP)
        bye = world.request(
            "BYE", to_tag=invite.from_tag, call_id=invite.call_id, cseq=7
        )
        world.say(bye)
        self.assertEqual(world.statuses(), [200])
        self.assertEqual(world.log[-1][1].outcome, Outcome.COMPLETED)
