"""Calls that come in: every answer that RFC 3261 has, on one clock."""

from __future__ import annotations

from ipaddress import ip_network

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import CallRefused, TransferFailed, UnknownAgent
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.settings.values import SipListener
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.sip.message import Request, Response
from tests.support.sip_peer import MEDIA, PEER, SDP, SETTINGS, SipWorld

DONE = Ending(Outcome.COMPLETED, "done")


class AnswerTests(SynchronousTestCase):
    def test_it_rings_until_the_agent_is_there(self) -> None:
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

    def test_an_agent_that_is_there_at_once_answers_at_once(self) -> None:
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
        # T1, then twice as long each time, up to T2.
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
        self.assertEqual(world.log[-1][0], "incoming")
        world.advance(0.25, 0.25)
        last = world.heard()[-1]
        assert isinstance(last, Request)
        self.assertEqual(last.method, "BYE")
        self.assertEqual(world.log[-1][0], "leg_ended")
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_LOST)
        self.assertEqual(world.ports.in_use, 0)

    def test_an_invite_again_gets_the_last_answer_and_no_second_call(self) -> None:
        world = SipWorld()
        world.invite()
        world.heard()
        world.invite()
        self.assertEqual(world.statuses(), [180])
        self.assertEqual(len(world.switchboard.legs), 1)

    def test_a_bye_ends_it_and_everything_comes_back(self) -> None:
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

    def test_a_bye_again_gets_the_same_answer(self) -> None:
        world = SipWorld()
        tag = world.established()
        world.asks("BYE", tag)
        world.say(world.request("BYE", to_tag=tag))
        self.assertEqual(world.statuses(), [200])

    def test_our_bye_says_why_and_follows_the_dialog(self) -> None:
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

    def test_a_cancel_gets_two_answers(self) -> None:
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

    def test_who_waits_too_long_for_an_agent_is_sent_on(self) -> None:
        world = SipWorld()
        world.invite()
        world.heard()
        world.leg.hang_up(Ending(Outcome.AGENT_UNAVAILABLE, "no deployment"))
        self.assertEqual(world.statuses(), [503])
        self.assertEqual(world.ports.in_use, 0)

    def test_an_offerless_invite_is_offered_one_codec_and_answered_in_the_ack(
        self,
    ) -> None:
        world = SipWorld()
        world.invite(body="")
        world.leg.answer()
        answer = world.heard()[-1]
        self.assertIn(b"m=audio 40000 RTP/AVP 0 101\r\n", answer.body)
        world.advance(0.1)
        self.assertEqual(world.port.sent, [])
        world.say(world.request("ACK", to_tag=answer.to_tag, cseq=1, body=SDP))
        world.advance(0.1)
        self.assertEqual({address for _, address in world.port.sent}, {MEDIA})

    def test_an_ack_without_the_answer_it_owes_ends_the_call(self) -> None:
        world = SipWorld()
        world.invite(body="", headers="Session-Expires: 90\r\n")
        world.leg.answer()
        tag = world.heard()[-1].to_tag
        world.say(world.request("ACK", to_tag=tag, cseq=1))
        self.assertEqual([m.cseq_method for m in world.heard()], ["BYE"])
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_PROTOCOL_ERROR)
        world.advance(120, 1)  # nothing of the session is left to refresh
        self.assertEqual(world.reactor.getDelayedCalls(), [])


class VoiceConnectorTests(SynchronousTestCase):
    """The INVITE of reference captures: private Contact, two Vias, To parameter."""

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

    def test_answers_copy_what_must_be_copied(self) -> None:
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

    def test_our_bye_goes_to_the_edge_with_the_private_contact_as_its_uri(self) -> None:
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

    def test_without_a_route_a_private_contact_is_reached_the_way_it_came(self) -> None:
        world = SipWorld()
        tag = world.established(headers="")
        leg = world.leg
        leg._dialog.dialog.remote_target = "sip:10.0.58.47:5070"
        leg.hang_up(DONE)
        self.assertEqual(world.reactor.sent[-1][1], PEER)
        self.assertTrue(tag)

    def test_what_it_says_of_itself_is_kept_and_believed_in_nothing(self) -> None:
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


class RefusalTests(SynchronousTestCase):
    def refused(self, world: SipWorld, **changes: str) -> Response:
        world.invite(**changes)
        answer = world.heard()[-1]
        assert isinstance(answer, Response)
        self.assertEqual(world.ports.in_use, 0)
        self.assertEqual(world.carrier.counts()["legs"], 0)
        return answer

    def test_full_or_draining_is_503_and_when_to_come_again(self) -> None:
        world = SipWorld()
        world.switchboard.raises = CallRefused("full")
        answer = self.refused(world)
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.headers["Retry-After"], "10")

    def test_where_there_is_no_other_route_full_is_busy(self) -> None:
        world = SipWorld(full_status=486)
        world.switchboard.raises = CallRefused("full")
        self.assertEqual(self.refused(world).status, 486)

    def test_no_port_is_full(self) -> None:
        world = SipWorld()
        world.ports.is_empty = True
        self.assertEqual(self.refused(world).status, 503)

    def test_an_unknown_agent_is_404(self) -> None:
        world = SipWorld()
        world.switchboard.raises = UnknownAgent("nobody")
        self.assertEqual(self.refused(world).status, 404)

    def test_more_calls_a_second_than_agreed_are_refused(self) -> None:
        world = SipWorld(calls_per_second=2.0)
        for number in range(3):
            world.invite(call_id=f"c{number}", branch=f"z9hG4bK{number}")
        finals = [s for s in world.statuses() if s > 180]
        self.assertEqual(finals, [503])
        world.advance(1)
        world.invite(call_id="c9", branch="z9hG4bK9")
        self.assertIn(180, world.statuses())

    def test_a_call_that_goes_in_a_circle(self) -> None:
        for changes, status in (
            ({"max_forwards": "0"}, 483),
            ({"headers": "X-SMA-Max-Forwards: 0\r\n"}, 483),
            ({"headers": "X-Gw-Hop: 2\r\n"}, 482),
            ({"uri": "sip:+1@abc.voiceconnector.chime.aws"}, 482),
        ):
            self.assertEqual(self.refused(SipWorld(), **changes).status, status)
        world = SipWorld()
        world.invite(headers="X-Gw-Hop: 1\r\nX-SMA-Max-Forwards: 4\r\n")
        self.assertEqual(world.statuses(), [100, 180])

    def test_the_same_call_by_two_ways_is_one_call(self) -> None:
        world = SipWorld()
        world.invite(branch="z9hG4bKa")
        world.heard()
        world.invite(branch="z9hG4bKb")
        self.assertEqual(world.statuses(), [482])

    def test_extensions_bodies_and_encodings_that_are_not_known(self) -> None:
        answer = self.refused(SipWorld(), headers="Require: 100rel, foo\r\n")
        self.assertEqual(answer.status, 420)
        self.assertEqual(answer.headers["Unsupported"], "100rel, foo")
        answer = self.refused(SipWorld(), body="hello", content_type="text/plain")
        self.assertEqual(answer.status, 415)
        self.assertIn("application/sdp", answer.headers["Accept"])
        answer = self.refused(SipWorld(), headers="Content-Encoding: gzip\r\n")
        self.assertEqual(answer.status, 415)
        self.assertEqual(answer.headers["Accept-Encoding"], "identity")

    def test_offers_that_cannot_be_agreed_to(self) -> None:
        for body in (
            SDP.replace("RTP/AVP 0 101", "RTP/AVP 3 101"),
            SDP.replace("m=audio 36488", "m=audio 0"),
            SDP.replace("m=audio", "m=video"),
            SDP.replace("198.51.100.9", "203.0.113.9"),
            SDP.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF"),
            SDP.replace("RTP/AVP", "RTP/SAVP"),
            SDP.replace("198.51.100.9", "media.example.com"),
            "v=1\r\n",
        ):
            answer = self.refused(SipWorld(), body=body)
            self.assertEqual(answer.status, 488)
            self.assertIn("399 chimegw", answer.headers["Warning"])

    def test_methods_that_are_not_ours(self) -> None:
        world = SipWorld()
        for method, status in (
            ("REGISTER", 405),
            ("SUBSCRIBE", 405),
            ("MESSAGE", 405),
            ("FROBNICATE", 501),
            ("BYE", 481),
            ("UPDATE", 481),
        ):
            world.say(world.request(method))
            answer = world.heard()[-1]
            assert isinstance(answer, Response)
            self.assertEqual(answer.status, status, method)
            if status in (405, 501):
                self.assertIn("INVITE", answer.headers["Allow"])

    def test_a_dialog_nobody_knows(self) -> None:
        world = SipWorld()
        for method in ("INVITE", "BYE", "INFO", "OPTIONS"):
            world.say(world.request(method, to_tag="gone"))
            self.assertEqual(world.statuses(), [481])
        world.say(world.request("CANCEL", branch="z9hG4bKnone"))
        self.assertEqual(world.statuses(), [481])
        world.say(world.request("ACK", to_tag="gone"))
        self.assertEqual(world.heard(), [])

    def test_answers_go_where_via_says_or_whence_it_came_if_asked(self) -> None:
        world = SipWorld()
        source = ("198.51.100.7", 49000)
        world.say(world.request("OPTIONS"), source)
        self.assertEqual(world.reactor.sent[-1][1], ("198.51.100.7", 5060))
        text = world.request("OPTIONS", cseq=2).replace(";branch", ";rport;branch")
        world.say(text, source)
        self.assertEqual(world.reactor.sent[-1][1], source)

    def test_options_tells_what_an_invite_would_get(self) -> None:
        world = SipWorld()
        world.say(world.request("OPTIONS"))
        answer = world.heard()[-1]
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 200)
        self.assertIn("application/sdp", answer.headers["Accept"])
        world.switchboard.why = "draining"
        world.say(world.request("OPTIONS", cseq=7))
        self.assertEqual(world.statuses(), [503])

    def test_nobody_outside_the_allowed_networks_is_answered(self) -> None:
        world = SipWorld()
        for text in (world.request("OPTIONS"), "garbage", world.request("INVITE")):
            world.say(text, ("203.0.113.5", 5060))
        self.assertEqual(world.reactor.sent, [])
        self.assertEqual(world.carrier.dropped()["not_allowed"], 3)

    def test_who_sends_nonsense_is_not_listened_to_for_a_while(self) -> None:
        world = SipWorld()
        for _ in range(30):
            world.say("garbage\r\n\r\n")
        world.say(world.request("OPTIONS"))
        self.assertEqual(world.heard(), [])
        self.assertGreater(world.carrier.dropped()["muted"], 0)
        world.say(world.request("OPTIONS"), ("198.51.100.8", 5060))
        self.assertEqual(world.statuses(), [200])
        world.advance(31, 1)
        world.say(world.request("OPTIONS", cseq=3))
        self.assertEqual(world.statuses(), [200])

    def test_a_malformed_request_is_told_if_it_can_be(self) -> None:
        world = SipWorld()
        world.say(world.request("INVITE").replace("CSeq: 1 INVITE", "CSeq: 1 BYE"))
        answer = world.heard()[-1]
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 400)
        world.say(world.request("OPTIONS").replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"))
        self.assertEqual(world.statuses(), [505])
        world.say(world.request("OPTIONS", uri="mailto:a@b"))
        self.assertEqual(world.statuses(), [416])
        world.say(world.request("ACK").replace("CSeq: 1 ACK", "CSeq: x ACK"))
        self.assertEqual(world.heard(), [])

    def test_tls_alone_asks_for_srtp(self) -> None:
        settings = evolve(
            SETTINGS, listen=(SipListener(transport="tls", port=5061),), srtp="offered"
        )
        self.assertTrue(settings.requires_srtp)
        self.assertFalse(SETTINGS.requires_srtp)
        world = SipWorld(srtp="required")
        self.assertEqual(self.refused(world).status, 488)


class InDialogTests(SynchronousTestCase):
    def test_hold_stops_our_audio_and_the_agent_hears_silence(self) -> None:
        for theirs, ours in (
            ("a=sendonly", b"a=recvonly"),
            ("a=inactive", b"a=inactive"),
        ):
            world = SipWorld()
            tag = world.established()
            world.advance(0.1)
            answer = world.asks("INVITE", tag, body=SDP.replace("a=sendrecv", theirs))
            self.assertEqual(answer.status, 200)
            self.assertIn(ours, answer.body)
            world.say(world.request("ACK", to_tag=tag, cseq=world.cseq))
            self.assertIn(("oddity_seen", "on_hold"), world.log)
            sent = len(world.port.sent)
            heard = len(world.switchboard.call.audio)
            world.advance(1)
            self.assertEqual(len(world.port.sent), sent)
            self.assertEqual(len(world.switchboard.call.audio) - heard, 8000)
            # Held for longer than any silence would be borne.
            world.advance(40, 0.1)
            answer = world.asks("INVITE", tag, body=SDP)
            self.assertIn(b"a=sendrecv", answer.body)
            world.say(world.request("ACK", to_tag=tag, cseq=world.cseq))
            world.advance(0.1)
            self.assertGreater(len(world.port.sent), sent)
            self.assertIn(("oddity_seen", "resumed"), world.log)

    def test_hold_of_old_is_a_zero_address(self) -> None:
        world = SipWorld()
        tag = world.established()
        body = SDP.replace("c=IN IP4 198.51.100.9", "c=IN IP4 0.0.0.0")
        answer = world.asks("INVITE", tag, body=body)
        self.assertEqual(answer.status, 200)
        world.say(world.request("ACK", to_tag=tag, cseq=world.cseq))
        sent = len(world.port.sent)
        world.advance(0.2)
        self.assertEqual(len(world.port.sent), sent)

    def test_an_update_is_answered_at_once(self) -> None:
        world = SipWorld()
        tag = world.established()
        answer = world.asks("UPDATE", tag, body=SDP.replace("sendrecv", "sendonly"))
        self.assertEqual(answer.status, 200)
        self.assertIn(b"a=recvonly", answer.body)
        answer = world.asks("UPDATE", tag)
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_a_new_offer_that_cannot_be_met_leaves_all_as_it_was(self) -> None:
        world = SipWorld()
        tag = world.established()
        body = SDP.replace("RTP/AVP 0", "RTP/AVP 3")
        self.assertEqual(world.asks("INVITE", tag, body=body).status, 488)
        world.advance(0.1)
        self.assertEqual({to for _, to in world.port.sent}, {MEDIA})
        self.assertEqual(world.asks("BYE", tag).status, 200)

    def test_the_media_may_move_and_speak_another_codec(self) -> None:
        world = SipWorld()
        tag = world.established()
        body = SDP.replace("36488 RTP/AVP 0", "36500 RTP/AVP 8").replace(
            "0 PCMU", "8 PCMA"
        )
        answer = world.asks("INVITE", tag, body=body)
        self.assertIn(b"RTP/AVP 8 101", answer.body)
        world.say(world.request("ACK", to_tag=tag, cseq=world.cseq))
        world.leg.play(b"\xff" * 160)
        del world.port.sent[:]
        world.advance(0.02)
        packet = rtp.parse(world.port.sent[-1][0])
        self.assertEqual(packet.payload_type, 8)
        self.assertEqual(packet.payload, b"\xd5" * 160)
        self.assertEqual(world.port.sent[-1][1], ("198.51.100.9", 36500))

    def test_an_offerless_reinvite_is_offered_what_is_in_use(self) -> None:
        world = SipWorld()
        tag = world.established()
        answer = world.asks("INVITE", tag)
        self.assertIn(b"m=audio 40000 RTP/AVP 0 101", answer.body)
        world.say(world.request("ACK", to_tag=tag, cseq=world.cseq, body=SDP))
        self.assertEqual(world.ports.in_use, 1)

    def test_a_request_out_of_order_is_refused(self) -> None:
        world = SipWorld()
        world.cseq = 10
        tag = world.established()
        world.cseq = 4
        self.assertEqual(world.asks("INFO", tag).status, 500)

    def test_an_invite_on_top_of_an_unanswered_one_must_wait(self) -> None:
        world = SipWorld()
        world.invite()
        tag = world.heard()[-1].to_tag
        answer = world.asks("INVITE", tag, body=SDP)
        self.assertEqual(answer.status, 500)
        self.assertIn("Retry-After", answer.headers.keys())

    def test_info_brings_keys(self) -> None:
        world = SipWorld()
        tag = world.established()
        for kind, body, status in (
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", 200),
            ("application/dtmf", "#", 200),
            ("application/dtmf-relay", "Duration=160", 400),
            ("application/xml", "<x/>", 415),
        ):
            answer = world.asks("INFO", tag, body=body, content_type=kind)
            self.assertEqual(answer.status, status)
        self.assertEqual(world.asks("INFO", tag).status, 200)
        pressed = [entry for entry in world.log if entry[0] == "digit_pressed"]
        self.assertEqual(pressed, [("digit_pressed", "5"), ("digit_pressed", "#")])

    def test_other_methods_in_a_dialog(self) -> None:
        world = SipWorld()
        tag = world.established()
        for method, status in (
            ("OPTIONS", 200),
            ("REFER", 405),
            ("MESSAGE", 405),
            ("NOTIFY", 481),
            ("FROB", 501),
        ):
            self.assertEqual(world.asks(method, tag).status, status, method)

    def test_nothing_at_all_from_the_other_side_ends_the_call(self) -> None:
        world = SipWorld(media_timeout_seconds=5.0)
        world.established()
        world.heard()
        world.advance(5.6)
        last = world.heard()[-1]
        assert isinstance(last, Request)
        self.assertEqual(last.method, "BYE")
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_LOST)

    def test_a_peer_that_does_not_answer_our_bye_is_forgotten(self) -> None:
        world = SipWorld()
        world.established()
        world.leg.hang_up(DONE)
        world.advance(70, 0.5)
        byes = [m for m in world.heard() if m.cseq_method == "BYE"]
        self.assertEqual(len(byes), 11)  # timer E until timer F
        self.assertEqual(set(world.carrier.counts().values()), {0})


class SessionTimerTests(SynchronousTestCase):
    TIMER = "Supported: timer\r\nSession-Expires: 100;refresher=uac\r\n"

    def test_the_caller_must_refresh(self) -> None:
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

    def test_we_refresh_where_the_caller_cannot(self) -> None:
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

    def test_without_update_we_refresh_with_the_same_offer_again(self) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        world.established(headers="Session-Expires: 100\r\n")
        world.advance(50.1, 0.1)
        invite = world.heard()[-1]
        assert isinstance(invite, Request)
        self.assertEqual(invite.method, "INVITE")
        # Meanwhile the other side must not offer anything.
        tag = invite.from_tag
        self.assertEqual(world.asks("INVITE", tag, body=SDP).status, 491)
        world.answer(invite, 200, body=SDP)
        ack = world.heard()[-1]
        self.assertEqual((ack.cseq_method, ack.cseq), ("ACK", invite.cseq))
        self.assertEqual(world.ports.in_use, 1)

    def test_a_session_the_other_side_has_forgotten_is_over(self) -> None:
        world = SipWorld(media_timeout_seconds=1000.0)
        world.established(headers="Session-Expires: 100\r\nAllow: UPDATE\r\n")
        world.advance(50.1, 0.1)
        update = world.heard()[-1]
        assert isinstance(update, Request)
        world.answer(update, 481)
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_LOST)
        self.assertEqual(world.ports.in_use, 0)

    def test_too_short_an_interval_is_refused_with_the_least(self) -> None:
        world = SipWorld()
        world.invite(headers="Supported: timer\r\nSession-Expires: 30\r\n")
        answer = world.heard()[-1]
        assert isinstance(answer, Response)
        self.assertEqual((answer.status, answer.headers["Min-SE"]), (422, "90"))
        world.invite(
            headers="Session-Expires: soon\r\n", call_id="2", branch="z9hG4bKother"
        )
        self.assertEqual(world.statuses()[-1], 400)


class TransferTests(SynchronousTestCase):
    def test_a_peer_that_takes_refer_is_sent_on(self) -> None:
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

    def test_a_peer_that_leaves_has_gone_where_it_was_sent(self) -> None:
        world = SipWorld()
        tag = world.established(headers="Allow: REFER\r\n")
        done = world.leg.transfer("sip:desk@198.51.100.20")
        world.asks("BYE", tag)
        self.assertIsNone(self.successResultOf(done))

    def test_a_transfer_that_fails_leaves_the_call(self) -> None:
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
        """A call that somebody else controls, and who is asked for what."""
        asked: list[tuple[CallerInfo, str]] = []

        class Seam:
            def transfer(self, info: CallerInfo, target: str) -> Deferred[None]:
                asked.append((info, target))
                return asking

        world = SipWorld(transfers=Seam())
        return world, world.established(), asked

    def test_without_refer_whoever_controls_the_call_is_asked(self) -> None:
        world, tag, asked = self.controlled(succeed(None))
        done = world.leg.transfer("sales")
        self.assertEqual([target for _, target in asked], ["sales"])
        # It was taken; our BYE now would end the caller's leg with ours.
        self.assertNoResult(done)
        self.failureResultOf(world.leg.transfer("again"), TransferFailed)
        world.asks("BYE", tag)
        self.assertIsNone(self.successResultOf(done))

    def test_a_hand_over_that_never_comes_leaves_the_call(self) -> None:
        world, tag, _ = self.controlled(succeed(None))
        done = world.leg.transfer("sales")
        world.advance(21, 0.5)
        self.failureResultOf(done, TransferFailed)
        self.assertEqual(world.asks("OPTIONS", tag).status, 200)

    def test_a_hand_over_that_is_refused_says_why(self) -> None:
        world, _, _ = self.controlled(fail(TransferFailed("no X-Transaction-Id")))
        failure = self.failureResultOf(world.leg.transfer("sales"), TransferFailed)
        self.assertIn("no X-Transaction-Id", str(failure.value))

    def test_with_neither_there_is_no_transfer(self) -> None:
        plain = SipWorld()
        plain.established()
        self.failureResultOf(plain.leg.transfer("sales"), TransferFailed)


class AllowedMediaTests(SynchronousTestCase):
    def test_ipv6_and_mapped_addresses_are_judged(self) -> None:
        world = SipWorld(allow=(ip_network("2001:db8::/32"), ip_network("10.0.0.0/8")))
        allows = world.carrier.access.allows
        self.assertTrue(allows("2001:db8::1"))
        self.assertTrue(allows("::ffff:10.1.2.3"))
        self.assertFalse(allows("2001:db9::1"))
        self.assertFalse(allows("example.com"))
