"""Within a call: hold, other media, DTMF digits, silence."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.sip.message import Request
from tests.support.sip_peer import MEDIA, SDP, SipWorld

DONE = Ending(Outcome.COMPLETED, "done")


class InDialogTests(SynchronousTestCase):
    def test_hold_stops_audio_and_the_agent_hears_silence(self) -> None:
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
            # Nothing has come since the beginning of the call 100 ms ago.
            self.assertEqual(len(world.switchboard.call.audio) - heard, 8640)
            # On hold for longer than the media timeout.
            world.advance(40, 0.1)
            answer = world.asks("INVITE", tag, body=SDP)
            self.assertIn(b"a=sendrecv", answer.body)
            world.say(world.request("ACK", to_tag=tag, cseq=world.cseq))
            world.advance(0.1)
            self.assertGreater(len(world.port.sent), sent)
            self.assertIn(("oddity_seen", "resumed"), world.log)

    def test_packets_are_sent_evenly_also_with_a_new_ptime(self) -> None:
        world = SipWorld()
        tag = world.established(body=SDP.replace("ptime:20", "ptime:10"))
        for asked, ptime in ((10, 10), (30, 30), (20, 20), (60, 60), (7, 20)):
            world.asks("INVITE", tag, body=SDP.replace("ptime:20", f"ptime:{asked}"))
            world.say(world.request("ACK", to_tag=tag, cseq=world.cseq))
            world.advance(0.2, 0.001)
            times: list[int] = []
            for now in range(600):
                sent = len(world.port.sent)
                world.advance(0.001, 0.001)
                times += [now] * (len(world.port.sent) - sent)
            self.assertEqual({b - a for a, b in itertools.pairwise(times)}, {ptime})

    def test_a_zero_address_is_hold_as_in_rfc_2543(self) -> None:
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

    def test_an_unacceptable_new_offer_changes_nothing(self) -> None:
        world = SipWorld()
        tag = world.established()
        body = SDP.replace("RTP/AVP 0", "RTP/AVP 3")
        self.assertEqual(world.asks("INVITE", tag, body=body).status, 488)
        world.advance(0.1)
        self.assertEqual({to for _, to in world.port.sent}, {MEDIA})
        self.assertEqual(world.asks("BYE", tag).status, 200)

    def test_media_may_change_its_address_and_codec(self) -> None:
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

    def test_a_reinvite_without_an_offer_gets_one_with_the_current_codec_first(
        self,
    ) -> None:
        for offer, formats in (("0 101", "0 8 101"), ("8 101", "8 0 101")):
            world = SipWorld()
            body = SDP.replace("RTP/AVP 0 101", f"RTP/AVP {offer}")
            tag = world.established(body=body)
            answer = world.asks("INVITE", tag)
            self.assertIn(f"m=audio 40000 RTP/AVP {formats}\r\n", answer.body.decode())
            world.say(world.request("ACK", to_tag=tag, cseq=world.cseq, body=body))
            self.assertEqual(world.ports.in_use, 1)

    def test_an_optional_body_is_ignored(self) -> None:
        optional = "Content-Disposition: info;handling=optional\r\n"
        for method in ("INFO", "UPDATE", "INVITE"):
            for headers, status in ((optional, 200), ("", 415)):
                world = SipWorld()
                tag = world.established()
                answer = world.asks(
                    method, tag, body="<x/>", content_type="a/xml", headers=headers
                )
                self.assertEqual(answer.status, status, method)
                if status == 415:
                    accepted = answer.headers.get("Accept") or ""
                    self.assertIn("application/sdp", accepted)

    def test_a_request_out_of_order_is_refused(self) -> None:
        world = SipWorld()
        world.cseq = 10
        tag = world.established()
        world.cseq = 4
        self.assertEqual(world.asks("INFO", tag).status, 500)

    def test_an_invite_during_an_unanswered_one_has_to_wait(self) -> None:
        world = SipWorld()
        world.invite()
        tag = world.heard()[-1].to_tag
        answer = world.asks("INVITE", tag, body=SDP)
        self.assertEqual(answer.status, 500)
        self.assertIn("Retry-After", answer.headers.keys())

    def test_info_brings_dtmf_digits(self) -> None:
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

    def test_no_media_at_all_from_the_peer_ends_the_call(self) -> None:
        world = SipWorld(media_timeout_seconds=5.0)
        world.established()
        world.heard()
        world.advance(5.6)
        last = world.heard()[-1]
        assert isinstance(last, Request)
        self.assertEqual(last.method, "BYE")
        self.assertEqual(world.log[-1][1].outcome, Outcome.CALLER_LOST)

    def test_a_peer_that_does_not_answer_the_bye_is_forgotten(self) -> None:
        world = SipWorld()
        world.established()
        world.leg.hang_up(DONE)
        world.advance(70, 0.5)
        byes = [m for m in world.heard() if m.cseq_method == "BYE"]
        self.assertEqual(len(byes), 11)  # timer E until timer F
        self.assertEqual(set(world.carrier.counts().values()), {0})
