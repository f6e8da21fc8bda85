"""Whole calls over WebRTC in memory, with every fault."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.codec.tone import tone
from chime_gateway.sim.realtime.behaviour import Behaviour
from chime_gateway.sim.realtime.faults.reading import with_fault
from chime_gateway.sim.realtime.voices import Part, Speech
from chime_gateway.wire.rtp.rtcp import parse
from chime_gateway.wire.webrtc.stun import Message
from tests.sim.realtime.test_session import QUIET, SPEECH, Answers
from tests.support.webrtc_client import ADDRESS, Client, offer

ANSWER = tone(PCMU, 700, 1.0)
OTHER = ("198.51.100.1", 9)
QUIET_FRAME = PCMU.silence(160)


def client(*faults: str) -> Client:
    behaviour = Behaviour(rate_limits=False)
    for fault in faults:
        behaviour = with_fault(behaviour, fault)
    answers: list[list[Part]] = [[Speech(ANSWER, "an answer")] for _ in range(20)]
    voice = Answers(*answers)
    return Client(behaviour, voice=lambda: voice)


class MediaTests(SynchronousTestCase):
    def test_audio_goes_both_ways_in_real_time(self) -> None:
        subject = client()
        call = subject.dial()
        self.assertTrue(subject.connect())
        self.assertEqual(subject.hear(), [])
        subject.say(QUIET + SPEECH + QUIET)
        began = subject.reactor.seconds()
        while "output_audio_buffer.stopped" not in subject.listener.kinds():
            subject.reactor.advance(0.02)
            self.assertLess(subject.reactor.seconds(), began + 5)
        heard = subject.hear()
        self.assertEqual({len(payload) for payload in heard}, {160})
        self.assertIn(ANSWER, b"".join(heard))
        # 50 packets a second, silence included.
        lasted = subject.reactor.seconds() - began + len(QUIET + SPEECH + QUIET) / 8000
        self.assertLessEqual(abs(len(heard) - 50 * lasted), 3)
        self.assertEqual(bytes(call.session.log.appended), QUIET + SPEECH + QUIET)
        self.assertEqual(call.session.log.violations, [])

    def test_the_answer_to_a_check_comes_before_dtls(self) -> None:
        subject = client()
        subject.dial()
        subject.reactor.udp.datagramReceived(subject.request(), ADDRESS)
        kinds = [data[0] for data, _ in subject.reactor.sent]
        self.assertEqual(kinds[0], 1)
        self.assertTrue(all(20 <= kind < 64 for kind in kinds[1:]))
        self.assertGreater(len(kinds), 1)

    def test_reordered_and_repeated_packets_are_put_in_order(self) -> None:
        subject = client()
        call = subject.dial()
        subject.connect()
        payloads = [bytes([n]) * 160 for n in range(10)]
        packets = [subject.packet(payload, n) for n, payload in enumerate(payloads)]
        for n in (0, 2, 1, 1, 3, 5, 6, 4, 9, 8, 7):
            subject.reactor.udp.datagramReceived(packets[n], ADDRESS)
        self.assertEqual(bytes(call.session.log.appended), b"".join(payloads))
        assert call.receiver is not None
        self.assertEqual((call.receiver.lost, call.receiver.rejected), (0, 1))

    def test_lost_packets_become_silence(self) -> None:
        subject = client()
        call = subject.dial()
        subject.connect()
        packets = [subject.packet(b"\1" * 160, n) for n in range(9)]
        for n in (0, 2, 3, 4, 5, 6, 7, 8):
            subject.reactor.udp.datagramReceived(packets[n], ADDRESS)
        heard = bytes(call.session.log.appended)
        self.assertEqual(heard[160:320], QUIET_FRAME)
        self.assertEqual(len(heard), 9 * 160)

    def test_sender_reports_are_sent(self) -> None:
        subject = client()
        subject.dial()
        subject.connect()
        subject.say(QUIET_FRAME * 260)
        heard = subject.hear()
        (report,) = map(parse, subject.reports)
        self.assertIsNotNone(report.sender_ntp)
        self.assertEqual(int.from_bytes(subject.reports[0][20:24], "big"), 249)
        self.assertGreater(len(heard), 250)

    def test_unauthenticated_packets_have_no_effect(self) -> None:
        subject = client()
        call = subject.dial()
        subject.connect()
        packet = subject.packet(b"\1" * 160)
        for data in (packet, b"\x15stranger", b"", b"\0", b"\x80", b"\xff" * 40):
            subject.reactor.udp.datagramReceived(data, OTHER)
        self.assertIsNone(
            subject.check(password="another password of ours", address=OTHER)
        )
        self.assertIsNone(subject.check(username="us:them", address=OTHER))
        self.assertEqual(bytes(call.session.log.appended), b"")
        self.assertEqual(call.ended, "")

    def test_a_client_that_moves_is_followed(self) -> None:
        subject = client()
        subject.dial()
        subject.connect()
        subject.reactor.taken()
        self.assertIsNotNone(subject.check(address=OTHER))
        subject.reactor.advance(0.1)
        self.assertEqual({where for _, where in subject.reactor.sent}, {OTHER})

    def test_a_role_conflict_is_answered(self) -> None:
        subject = client()
        subject.dial()
        answer = subject.check(controlling=None, controlled=7)
        assert answer is not None and answer.error is not None
        self.assertEqual(answer.error[0], 487)

    def test_a_call_that_does_not_connect_ends(self) -> None:
        subject = client()
        call = subject.dial()
        subject.reactor.advance(31)
        self.assertEqual(call.ended, "the media did not connect")
        self.assertEqual(subject.factory.webrtc().calls, {})
        self.assertIsNone(subject.check())

    def test_an_ended_call_leaves_nothing_behind(self) -> None:
        subject = client()
        call = subject.dial()
        subject.connect()
        call.end("hung up")
        subject.hear()
        self.assertTrue(subject.is_closed)
        waiting = map(str, subject.reactor.getDelayedCalls())
        # The HTTP connections are still open.
        self.assertEqual([one for one in waiting if "TimeoutMixin" not in one], [])
        self.assertIsNone(subject.check())
        subject.reactor.udp.datagramReceived(b"\x80" * 40, ADDRESS)
        subject.factory.stopFactory()
        self.assertFalse(subject.reactor.is_open)

    def test_a_call_survives_the_end_of_its_sideband(self) -> None:
        for fault, codes in (("at=2s:drop", [1006]), ("at=2s:reset", [0])):
            with self.subTest(fault=fault):
                subject = client(fault)
                call = subject.dial()
                subject.connect()
                subject.say(QUIET_FRAME * 150)
                self.assertEqual((subject.listener.ends, call.ended), (codes, ""))
        subject = client("at=2s:expire")
        call = subject.dial()
        subject.connect()
        subject.say(QUIET_FRAME * 100)
        subject.reactor.advance(0.5)
        self.assertEqual(subject.listener.ends, [1001])
        self.assertIn("1001", call.ended)

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 2**30), st.integers(1, 8))
    def test_calls_share_only_a_port(self, seed: int, count: int) -> None:
        subjects = [client() for _ in range(count)]
        first = subjects[0]
        for subject in subjects[1:]:
            subject.factory, subject.reactor = first.factory, first.reactor
        calls = [subject.dial() for subject in subjects]
        for number, subject in enumerate(subjects):
            address = ("192.0.2.7", 41000 + number)
            self.assertIsNotNone(subject.check(address=address))
        self.assertEqual(len({call.ufrag for call in calls}), count)
        self.assertEqual(len({call.id for call in calls}), count)
        ended = seed % count
        calls[ended].end("hung up")
        for number, subject in enumerate(subjects):
            address = ("192.0.2.7", 41000 + number)
            self.assertIs(subject.check(address=address) is None, number == ended)


class ConsentTests(SynchronousTestCase):
    def checks(
        self, subject: Client, *, is_nominating: bool = True
    ) -> list[Message | None]:
        found = []
        for _ in range(8):
            found.append(subject.check(is_nominating=is_nominating))
            subject.reactor.advance(5)
        return found

    def test_consent_is_lost_without_use_candidate(self) -> None:
        subject = client()
        call = subject.dial()
        subject.connect()
        found = self.checks(subject, is_nominating=False)
        self.assertIsNotNone(found[0])
        self.assertEqual(set(found[1:]), {None})
        self.assertEqual(call.ended, "consent was lost")

    def test_consent_is_kept_with_use_candidate(self) -> None:
        subject = client()
        call = subject.dial()
        subject.connect()
        self.assertNotIn(None, self.checks(subject))
        self.assertEqual(call.ended, "")

    def test_a_lenient_service_keeps_consent_with_either(self) -> None:
        subject = client("lenient_consent")
        call = subject.dial()
        subject.connect()
        self.assertNotIn(None, self.checks(subject, is_nominating=False))
        self.assertEqual(call.ended, "")


class FaultTests(SynchronousTestCase):
    def test_udp_can_be_blocked_without_tcp(self) -> None:
        subject = client("udp_blocked")
        subject.dial()
        self.assertFalse(subject.connect(2.0))
        self.assertEqual(subject.reactor.sent, [])
        kinds = [value.split()[2] for value in subject.answer["candidate"]]
        self.assertEqual(kinds, ["udp", "tcp"])

    def test_the_tcp_candidate_can_be_omitted(self) -> None:
        subject = client("no_tcp")
        subject.dial()
        kinds = [value.split()[2] for value in subject.answer["candidate"]]
        self.assertEqual(kinds, ["udp"])

    def test_the_fingerprint_can_be_wrong(self) -> None:
        right, wrong = client(), client("wrong_fingerprint")
        found = []
        for subject in (right, wrong):
            subject.dial()
            subject.connect()
            certificate = subject._connection.get_peer_certificate()
            digest = certificate.digest("sha256").decode()
            found.append(f"sha-256 {digest}" == subject.answer["fingerprint"][0])
        self.assertEqual(found, [True, False])

    def test_a_client_with_another_certificate_is_refused(self) -> None:
        subject = client()
        body = offer(subject, fingerprint=f":sha-256 {bytes(32).hex(':')}")
        original = subject.offer
        subject.offer = lambda *found, **more: original(body)  # type: ignore[method-assign]
        call = subject.dial()
        self.assertFalse(subject.connect(2.0))
        self.assertIn("certificate", call.ended)

    def test_srtp_can_be_missing(self) -> None:
        subject = client("no_srtp")
        call = subject.dial()
        self.assertFalse(subject.connect(2.0))
        self.assertIsNotNone(subject.keys)
        self.assertEqual(subject.profile, b"")
        self.assertFalse(call.is_connected)

    def test_dtls_losses_follow_the_seed(self) -> None:
        # Retransmission is tested in integration, because OpenSSL uses its own clock.
        found = []
        for seed in range(12):
            subject = client("dtls_loss=15", f"dtls_seed={seed}")
            subject.dial()
            found.append(subject.connect(0.5))
        self.assertEqual(set(found), {False, True})
        for percent, is_up in ((0, True), (100, False)):
            subject = client(f"dtls_loss={percent}")
            subject.dial()
            self.assertIs(subject.connect(0.5), is_up)

    def test_dtls_can_be_closed(self) -> None:
        subject = client("close_notify=2")
        call = subject.dial()
        subject.connect()
        subject.say(QUIET_FRAME * 120)
        subject.hear()
        self.assertTrue(subject.is_closed)
        self.assertEqual(call.ended, "close_notify")

    def test_rtp_can_stop_while_events_continue(self) -> None:
        subject = client("silence=1")
        subject.dial()
        subject.connect()
        subject.say(QUIET_FRAME * 60)
        before = len(subject.hear())
        self.assertIn(before, range(45, 54))
        subject.say(SPEECH + QUIET)
        subject.say(QUIET_FRAME * 100)
        self.assertEqual(subject.hear(), [])
        self.assertIn("output_audio_buffer.stopped", subject.listener.kinds())

    def test_rtp_can_pause_between_answers(self) -> None:
        subject = client("rtp_pauses")
        subject.dial()
        subject.connect()
        subject.say(QUIET_FRAME * 60)
        self.assertEqual(subject.hear(), [])
        subject.tell("response.create")
        subject.say(QUIET_FRAME * 120)
        heard = b"".join(subject.hear())
        self.assertEqual(heard, ANSWER)

    def test_checks_can_stop_being_answered(self) -> None:
        subject = client("consent_lost=2")
        subject.dial()
        subject.connect()
        self.assertIsNotNone(subject.check())
        subject.reactor.advance(2.1)
        self.assertIsNone(subject.check())

    def test_only_the_selected_sessions_have_faults(self) -> None:
        subject = client("no_location", "sessions=1")
        found = ["location" in subject.offer()[1] for _ in range(2)]
        self.assertEqual(found, [False, True])
