"""Refused requests, with the responses of RFC 3261."""

from __future__ import annotations

from ipaddress import ip_network

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.context import RESPONDERS
from chime_gateway.errors import CallRefused, UnknownAgent
from chime_gateway.outcomes import Outcome
from chime_gateway.settings.listener import Listener
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.sip.message import Request, Response
from tests.support.sip_peer import MEDIA, SDP, SETTINGS, SipWorld


class RefusalTests(SynchronousTestCase):
    def refused(self, world: SipWorld, **changes: str) -> Response:
        world.invite(**changes)
        answer = world.heard()[-1]
        assert isinstance(answer, Response)
        self.assertEqual(world.ports.in_use, 0)
        self.assertEqual(world.carrier.counts()["legs"], 0)
        return answer

    def test_full_or_draining_is_503_with_retry_after(self) -> None:
        world = SipWorld()
        world.switchboard.raises = CallRefused("full")
        answer = self.refused(world)
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.headers["Retry-After"], "10")

    def test_a_call_refused_at_the_door_takes_no_port_or_agent(self) -> None:
        world = SipWorld()
        world.switchboard.why = "full"
        answer = self.refused(world)
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "10"))
        self.assertEqual(world.switchboard.legs, [])
        self.assertEqual(world.ports.lent, [])
        self.assertIn(("turned_away", "sip", Outcome.REFUSED, "full"), world.log)

    def test_without_another_route_full_is_busy(self) -> None:
        world = SipWorld(full_status=486)
        world.switchboard.raises = CallRefused("full")
        self.assertEqual(self.refused(world).status, 486)

    def test_without_a_free_port_the_gateway_is_full(self) -> None:
        world = SipWorld()
        world.ports.is_empty = True
        self.assertEqual(self.refused(world).status, 503)

    def test_an_unknown_agent_is_404(self) -> None:
        world = SipWorld()
        world.switchboard.raises = UnknownAgent("nobody")
        self.assertEqual(self.refused(world).status, 404)

    def test_too_many_calls_a_second_are_refused(self) -> None:
        world = SipWorld(calls_per_second=2.0)
        for number in range(3):
            world.invite(call_id=f"c{number}", branch=f"z9hG4bK{number}")
        finals = [s for s in world.statuses() if s > 180]
        self.assertEqual(finals, [503])
        world.advance(1)
        world.invite(call_id="c9", branch="z9hG4bK9")
        self.assertIn(180, world.statuses())

    def test_a_call_loop_is_refused(self) -> None:
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

    def test_the_same_call_by_two_paths_is_one_call(self) -> None:
        world = SipWorld()
        world.invite(branch="z9hG4bKa")
        world.heard()
        world.invite(branch="z9hG4bKb")
        self.assertEqual(world.statuses(), [482])

    def test_unknown_extensions_bodies_and_encodings_are_refused(self) -> None:
        answer = self.refused(SipWorld(), headers="Require: 100rel, foo\r\n")
        self.assertEqual(answer.status, 420)
        self.assertEqual(answer.headers["Unsupported"], "100rel, foo")
        answer = self.refused(SipWorld(), body="hello", content_type="text/plain")
        self.assertEqual(answer.status, 415)
        self.assertIn("application/sdp", answer.headers["Accept"])
        answer = self.refused(SipWorld(), headers="Content-Encoding: gzip\r\n")
        self.assertEqual(answer.status, 415)
        self.assertEqual(answer.headers["Accept-Encoding"], "identity")

    def test_unacceptable_offers_are_refused(self) -> None:
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

    def test_unsupported_methods_are_refused(self) -> None:
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

    def test_requests_of_an_unknown_dialog_are_refused(self) -> None:
        world = SipWorld()
        for method in ("INVITE", "BYE", "INFO", "OPTIONS"):
            world.say(world.request(method, to_tag="gone"))
            self.assertEqual(world.statuses(), [481])
        world.say(world.request("CANCEL", branch="z9hG4bKnone"))
        self.assertEqual(world.statuses(), [481])
        world.say(world.request("ACK", to_tag="gone"))
        self.assertEqual(world.heard(), [])

    def test_responses_go_to_the_via_or_with_rport_to_the_source(self) -> None:
        world = SipWorld()
        source = ("198.51.100.7", 49000)
        world.say(world.request("OPTIONS"), source)
        self.assertEqual(world.reactor.sent[-1][1], ("198.51.100.7", 5060))
        text = world.request("OPTIONS", cseq=2).replace(";branch", ";rport;branch")
        world.say(text, source)
        self.assertEqual(world.reactor.sent[-1][1], source)

    def test_options_is_answered_as_an_invite_would_be(self) -> None:
        world = SipWorld()
        world.say(world.request("OPTIONS"))
        answer = world.heard()[-1]
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 200)
        self.assertIn("application/sdp", answer.headers["Accept"])
        world.switchboard.why = "draining"
        world.say(world.request("OPTIONS", cseq=7))
        self.assertEqual(world.statuses(), [503])

    def test_without_an_agent_options_is_refused_and_a_call_may_try(self) -> None:
        world = SipWorld()
        world.switchboard.agents_fault = "every deployment is resting"
        world.say(world.request("OPTIONS"))
        (answer,) = world.heard()
        assert isinstance(answer, Response)
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "10"))
        world.say(world.request("INVITE"))
        self.assertEqual(len(world.switchboard.calls), 1)

    def test_peers_outside_the_allowed_networks_get_no_response(self) -> None:
        world = SipWorld()
        for text in (world.request("OPTIONS"), "garbage", world.request("INVITE")):
            world.say(text, ("203.0.113.5", 5060))
        self.assertEqual(world.reactor.sent, [])
        self.assertEqual(world.carrier.dropped()["not_allowed"], 3)

    def test_a_peer_that_sends_malformed_messages_is_muted_for_a_while(self) -> None:
        world = SipWorld()
        for _ in range(30):
            world.say("garbage\r\n\r\n")
        world.say(world.request("OPTIONS"))
        self.assertEqual(world.heard(), [])
        self.assertGreater(world.carrier.dropped()["muted"], 0)
        for source in (("198.51.100.8", 5064), ("198.51.100.7", 5061)):
            number = str(source[1])
            text = world.request("OPTIONS", call_id=number, branch=f"z9hG4bK{number}")
            world.say(text, source)
            self.assertEqual(world.statuses(), [200])
        world.advance(31, 1)
        world.say(world.request("OPTIONS", cseq=3))
        self.assertEqual(world.statuses(), [200])

    def test_a_malformed_request_is_answered_if_possible(self) -> None:
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

    def test_with_tls_only_srtp_is_required(self) -> None:
        settings = evolve(
            SETTINGS, listen=(Listener(transport="tls", port=5061),), srtp="offered"
        )
        self.assertTrue(settings.requires_srtp)
        self.assertFalse(SETTINGS.requires_srtp)
        world = SipWorld(srtp="required")
        self.assertEqual(self.refused(world).status, 488)


class BugTests(SynchronousTestCase):
    """A bug in the gateway ends its own call and leaves nothing behind."""

    def test_a_bug_in_any_request_of_a_dialog(self) -> None:
        for method, responder in RESPONDERS.items():
            world = SipWorld()
            other = world.established(call_id="other", branch="z9hG4bKother")
            tag = world.established(call_id="this", branch="z9hG4bKthis")

            def bug(*_: object) -> None:
                raise ZeroDivisionError("a bug")

            setattr(world.leg, responder, bug)
            answer = world.asks(method, tag, call_id="this")
            self.assertEqual(answer.status, 500)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual(world.carrier.counts()["legs"], 1)
            self.assertEqual(world.asks("BYE", other, call_id="other").status, 200)
            self.assertEqual(world.ports.in_use, 0)

    def test_a_bug_in_a_new_call(self) -> None:
        for where in ("incoming", "turned_away"):
            world = SipWorld()
            self.patch(world.switchboard, where, None)  # an exception when it is called
            body = SDP if where == "incoming" else "v=1"
            world.invite(body=body)
            status = world.statuses()[-1]
            self.assertEqual(status, 500 if where == "incoming" else 488)
            self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
            world.advance(140, 0.5)
            self.assertEqual(set(world.carrier.counts().values()), {0})
            self.assertEqual(world.reactor.getDelayedCalls(), [])

    def test_a_bug_in_processing_packets(self) -> None:
        """The batch drops a socket whose reader fails, so the call has to end."""
        world = SipWorld()
        world.established()
        world.port.broken()
        self.assertIn(
            "BYE", [m.method for m in world.heard() if isinstance(m, Request)]
        )
        self.assertEqual(world.ports.in_use, 0)
        self.assertIn("leg_ended", [entry[0] for entry in world.log])


class LifeTests(SynchronousTestCase):
    def test_who_may_call_is_changed_for_new_calls_alone(self) -> None:
        world = SipWorld()
        tag = world.established()
        elsewhere = (ip_network("203.0.113.0/24"),)
        settings = world.reactor.network.settings
        world.carrier.change(settings(evolve(SETTINGS, allow=elsewhere)))
        world.heard()
        world.invite(call_id="call-2", branch="z9hG4bK2")
        self.assertEqual(world.heard(), [])
        self.assertEqual(world.carrier.counts()["legs"], 1)
        world.carrier.change(settings(SETTINGS))
        self.assertEqual(world.asks("BYE", tag).status, 200)

    def test_what_past_and_present_calls_lost_is_counted_together(self) -> None:
        world = SipWorld()
        tag = world.established()
        for number in (1, 2):
            packet = rtp.serialize(0, False, number, 160 * number, 7, b"\x55" * 160)
            world.port.receive_rtp(packet, MEDIA)
        world.advance(0.1)
        during = world.carrier.network_stats().packets_in
        self.assertEqual(during, 2)
        world.asks("BYE", tag)
        self.assertEqual(world.carrier.network_stats().packets_in, during)

    def test_a_gateway_that_stops_hangs_up_and_waits_for_nobody(self) -> None:
        world = SipWorld()
        world.established()
        world.heard()
        stopping = Deferred.fromCoroutine(world.carrier.stop())
        world.advance(40.0)
        self.successResultOf(stopping)
        requests = [one for one in world.heard() if isinstance(one, Request)]
        self.assertEqual({one.method for one in requests}, {"BYE"})
        counts = world.carrier.counts()
        self.assertEqual((counts["legs"], counts["ports"]), (0, 0))
        self.assertEqual(world.reactor.getDelayedCalls(), [])
