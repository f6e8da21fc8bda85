"""Inbound calls, from the INVITE to the end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.sip.message import Request, Response
from tests.support.sip_peer import MEDIA, SDP, SipWorld

DONE = Ending(Outcome.COMPLETED, "done")


class AnswerTests(SynchronousTestCase):
    def test_it_rings_until_the_agent_is_ready(self) -> None:
        world = SipWorld()
        world.invite()
        self.assertEqual(world.statuses(), [100, 180])
        self.assertEqual(world.log, [("incoming", "PCMU")])
        self.assertEqual(world.ports.in_use, 1)
        world.advance(5)
        self.assertEqual(world.statuses(), [])
        world.leg.answer()
        answer = world.heard()[0]
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 200)
        self.assertIn(b"m=audio 40000 RTP/AVP 0 101\r\n", answer.body)
        self.assertIn(b"c=IN IP4 192.0.2.10\r\n", answer.body)
        self.assertIn("sip:chimegw@192.0.2.10:5060", answer.headers["Contact"])

    def test_requests_while_it_rings(self) -> None:
        world = SipWorld()
        world.invite()
        tag = world.heard()[-1].to_tag
        for method, body, status in (
            *(("UPDATE", "", 200), ("UPDATE", SDP, 500), ("INVITE", SDP, 500)),
            *(("OPTIONS", "", 200), ("INFO", "", 200), ("NOTIFY", "", 481)),
        ):
            self.assertEqual(world.asks(method, tag, body=body).status, status)
        answer = world.asks("UPDATE", tag, cseq=1)
        self.assertEqual(answer.status, 500)

    def test_an_agent_that_is_ready_at_once_answers_at_once(self) -> None:
        world = SipWorld()
        world.switchboard.answers = True
        world.invite()
        self.assertEqual(world.statuses(), [100, 200])

    def test_the_answer_is_repeated_until_it_is_acknowledged(self) -> None:
        world = SipWorld()
        world.invite()
        world.leg.answer()
        to_tag = world.heard()[-1].to_tag
        times = []
        for _ in range(1000):
            world.reactor.advance(0.02)
            times += [round(world.reactor.seconds(), 1) for s in world.statuses()]
            if len(times) == 4:
                break
        # T1, doubled each time, up to T2.
        self.assertEqual(times, [0.5, 1.5, 3.5, 7.5])
        world.say(world.request("ACK", to_tag=to_tag, cseq=1))
        world.advance(20)
        self.assertEqual(world.statuses(), [])

    def test_an_answer_that_is_never_acknowledged_ends_the_call_with_a_bye(
        self,
    ) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        world.invite()
        world.leg.answer()
        world.heard()
        world.advance(31.75, 0.25)
        told = [entry[0] for entry in world.log if entry[0] != "gap_filled"]
        self.assertEqual(told[-1], "incoming")
        world.advance(0.25, 0.25)
        last = world.heard()[-1]
        assert isinstance(last, Request)
        self.assertEqual(last.method, "BYE")
        self.assertEqual(world.log[-1][0], "leg_ended")
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_LOST)
        self.assertEqual(world.ports.in_use, 0)

    def test_a_repeated_invite_gets_the_last_response_and_no_second_call(self) -> None:
        world = SipWorld()
        world.invite()
        world.heard()
        world.invite()
        self.assertEqual(world.statuses(), [180])
        self.assertEqual(len(world.switchboard.legs), 1)

    def test_a_bye_ends_the_call_and_releases_everything(self) -> None:
        world = SipWorld()
        tag = world.established()
        self.assertEqual(world.asks("BYE", tag).status, 200)
        self.assertEqual(
            world.log[-1],
            ("leg_ended", Ending(Outcome.COMPLETED, "the caller hung up")),
        )
        self.assertEqual(world.ports.in_use, 0)
        world.advance(40, 0.5)
        self.assertEqual(set(world.carrier.counts().values()), {0})
        self.assertEqual(world.reactor.getDelayedCalls(), [])

    def test_a_repeated_bye_gets_the_same_response(self) -> None:
        world = SipWorld()
        tag = world.established()
        world.asks("BYE", tag)
        world.say(world.request("BYE", to_tag=tag))
        self.assertEqual(world.statuses(), [200])

    def test_the_gateways_bye_has_a_reason_and_follows_the_dialog(self) -> None:
        world = SipWorld()
        tag = world.established(
            headers="Record-Route: <sip:198.51.100.1;lr;ftag=x>\r\n",
        )
        world.leg.hang_up(Ending(Outcome.TIME_LIMIT, 'a "limit"\r\nwas reached'))
        bye = world.heard()[-1]
        assert isinstance(bye, Request)
        self.assertEqual(bye.method, "BYE")
        self.assertEqual(bye.uri_text, "sip:198.51.100.7:5060")
        self.assertEqual(bye.headers["Route"], "<sip:198.51.100.1;lr;ftag=x>")
        self.assertEqual(
            bye.headers["Reason"], 'SIP;cause=200;text="a limitwas reached"'
        )
        self.assertEqual((bye.from_tag, bye.to_tag), (tag, "theirs"))
        self.assertEqual(world.reactor.sent[-1][1], ("198.51.100.1", 5060))
        self.assertEqual(world.ports.in_use, 0)

    def test_hanging_up_waits_for_the_ack(self) -> None:
        world = SipWorld()
        world.invite()
        world.leg.answer()
        tag = world.heard()[-1].to_tag
        world.leg.hang_up(DONE)
        self.assertEqual(world.heard(), [])
        world.say(world.request("ACK", to_tag=tag, cseq=1))
        self.assertEqual([m.cseq_method for m in world.heard()], ["BYE"])
        self.assertEqual(world.ports.in_use, 0)

    def test_a_cancel_gets_two_responses(self) -> None:
        world = SipWorld()
        world.invite(branch="z9hG4bKone")
        world.heard()
        world.say(world.request("CANCEL", branch="z9hG4bKone"))
        answers = [(m.status, m.cseq_method) for m in world.heard()]  # type: ignore[union-attr]
        self.assertEqual(answers, [(200, "CANCEL"), (487, "INVITE")])
        self.assertEqual(
            world.log[-1],
            ("leg_ended", Ending(Outcome.COMPLETED, "the caller cancelled")),
        )
        self.assertEqual(world.ports.in_use, 0)

    def test_a_cancel_that_comes_too_late_changes_nothing(self) -> None:
        world = SipWorld()
        world.invite(branch="z9hG4bKone")
        world.leg.answer()
        world.heard()
        world.say(world.request("CANCEL", branch="z9hG4bKone"))
        self.assertEqual(world.statuses(), [200])
        self.assertEqual(world.ports.in_use, 1)

    def test_a_bye_before_the_answer_ends_the_invite_as_well(self) -> None:
        world = SipWorld()
        world.invite()
        tag = world.heard()[-1].to_tag
        world.cseq += 1
        world.say(world.request("BYE", to_tag=tag))
        self.assertEqual(sorted(world.statuses()), [200, 487])
        self.assertEqual(world.ports.in_use, 0)

    def test_a_caller_that_waits_too_long_for_an_agent_is_refused(self) -> None:
        world = SipWorld()
        world.invite()
        world.heard()
        world.leg.hang_up(Ending(Outcome.AGENT_UNAVAILABLE, "no deployment"))
        self.assertEqual(world.statuses(), [503])
        self.assertEqual(world.ports.in_use, 0)

    def test_an_invite_without_an_offer_gets_one_and_is_answered_in_the_ack(
        self,
    ) -> None:
        for taken, number in (("RTP/AVP 0 101", 0), ("RTP/AVP 8 101", 8)):
            world = SipWorld()
            world.invite(body="")
            world.leg.answer()
            answer = world.heard()[-1]
            self.assertIn(b"m=audio 40000 RTP/AVP 0 8 101\r\n", answer.body)
            self.assertIn(b"a=rtpmap:101 telephone-event/8000\r\n", answer.body)
            world.advance(0.1)
            self.assertEqual(world.port.sent, [])
            body = SDP.replace("RTP/AVP 0 101", taken)
            world.say(world.request("ACK", to_tag=answer.to_tag, cseq=1, body=body))
            world.leg.play(b"\xff" * 160)
            world.advance(0.1)
            self.assertEqual({address for _, address in world.port.sent}, {MEDIA})
            sent = {rtp.parse(data).payload_type for data, _ in world.port.sent}
            self.assertEqual(sent, {number})
            # Whatever codec was accepted, the call keeps its own.
            data = rtp.serialize(number, False, 1, 160, 7, b"\x55" * 160)
            world.port.receive_rtp(data, MEDIA)
            heard = world.switchboard.calls[-1].audio
            self.assertEqual(heard[-160:] == b"\x55" * 160, number == 0)
            self.assertIn(("caller_audio", 160), world.log)

    def test_an_invite_without_an_offer_gets_srtp_if_it_is_required(self) -> None:
        world = SipWorld(srtp="required")
        world.invite(body="")
        world.leg.answer()
        answer = world.heard()[-1]
        self.assertIn(b"m=audio 40000 RTP/SAVP 0 8 101\r\n", answer.body)
        key = "inline:" + "A" * 40
        body = SDP.replace("RTP/AVP", "RTP/SAVP")
        body += f"a=crypto:1 aes_cm_128_hmac_sha1_80 {key}\r\n"
        world.say(world.request("ACK", to_tag=answer.to_tag, cseq=1, body=body))
        world.advance(0.1)
        self.assertEqual(len(world.port.sent[0][0]), 172 + 10)

    def test_a_wrong_answer_in_the_ack_ends_the_call(self) -> None:
        other = SDP.replace("RTP/AVP 0 101", "RTP/AVP 18")
        for body in (
            other,
            SDP.replace("RTP/AVP 0", "RTP/SAVP 0"),
            SDP.replace("m=audio 36488", "m=audio 0"),
            SDP.replace("m=audio", "m=video 9 RTP/AVP 31\r\nm=audio"),
            SDP + "m=audio 4 RTP/AVP 0\r\n",
            "nonsense",
        ):
            world = SipWorld()
            world.invite(body="")
            world.leg.answer()
            tag = world.heard()[-1].to_tag
            world.say(world.request("ACK", to_tag=tag, cseq=1, body=body))
            self.assertEqual([m.cseq_method for m in world.heard()], ["BYE"], body)
            self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_PROTOCOL_ERROR)
            self.assertEqual(world.ports.in_use, 0)

    def test_optional_bodies_of_an_invite_are_ignored(self) -> None:
        mixed = 'multipart/mixed;boundary="a b\'(9"'
        for handling, statuses in (("optional", [100, 180]), ("required", [100, 415])):
            other = (
                "Content-Type: application/isup;version=x\r\n"
                f"Content-Disposition: signal;handling={handling}\r\n"
            )
            body = (
                f"--a b'(9\r\n{other}\r\nabc\r\n"
                f"--a b'(9\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--a b'(9--"
            )
            world = SipWorld()
            world.invite(body=body, content_type=mixed)
            answers = world.heard()
            self.assertEqual([m.status for m in answers], statuses)  # type: ignore[union-attr]
            if handling == "required":
                self.assertIn("application/sdp", answers[-1].headers["Accept"])
                self.assertIn("multipart/mixed", answers[-1].headers["Accept"])
                self.assertEqual(world.ports.in_use, 0)
            else:
                world.leg.answer()
                self.assertIn(b"RTP/AVP 0 101\r\n", world.heard()[-1].body)
            # There is no offer to answer, so the gateway makes one.
            alone = f"Content-Disposition: signal;handling={handling}\r\n"
            world = SipWorld()
            world.invite(body="x", content_type="application/isup", headers=alone)
            self.assertEqual(world.statuses(), statuses)
            if handling == "optional":
                world.leg.answer()
                self.assertIn(b"RTP/AVP 0 8 101\r\n", world.heard()[-1].body)

    def test_an_ack_without_the_required_answer_ends_the_call(self) -> None:
        world = SipWorld()
        world.invite(body="", headers="Session-Expires: 90\r\n")
        world.leg.answer()
        tag = world.heard()[-1].to_tag
        world.say(world.request("ACK", to_tag=tag, cseq=1))
        self.assertEqual([m.cseq_method for m in world.heard()], ["BYE"])
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_PROTOCOL_ERROR)
        world.advance(120, 1)  # no session is left to refresh
        self.assertEqual(world.reactor.getDelayedCalls(), [])
