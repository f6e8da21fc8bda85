"""The leg of a WebRTC caller, whose peer is driven by the test."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.carriers.webrtc.leg import WebRtcLeg
from chime_gateway.errors import TransferFailed
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.rtp.keys import SrtpKeys
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.webrtc.peer import REMOTE, PeerFailure
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.rtp.dtmf import key_packets
from tests.support.fakes import Log, RecordingSwitchboard
from tests.support.rtc_offers import BROWSER
from tests.support.rtc_peer import KEYS, FakePeer, RtcWorld

THEIRS = SrtpKeys(KEYS.profile, KEYS.remote, KEYS.local)


class Caller:
    """The other end of a call: what it sends, and what it was sent."""

    def __init__(self, body: str = BROWSER) -> None:
        self.log: Log = []
        self.board = RecordingSwitchboard(self.log)
        self.world = RtcWorld(self.board)
        self.place = self.world.offer(body).headers["location"]
        self.peer: FakePeer = self.world.carrier.peers[0]
        self.leg = cast(WebRtcLeg, self.board.legs[0])
        self.srtp = SrtpCodec(THEIRS)
        self.number = 0

    def say(self, payload: bytes, kind: int = 0, *, marker: bool = False) -> None:
        self.number += 1
        packet = rtp.serialize(kind, marker, self.number, self.number * 160, 7, payload)
        self.peer.received(self.srtp.protect(packet), REMOTE)

    def heard(self) -> list[rtp.RtpPacket]:
        found = []
        for data in self.peer.sent:
            if not rtp.is_rtcp(data):
                found.append(rtp.parse(self.srtp.unprotect(data)))
        self.peer.sent.clear()
        return found

    def names(self) -> list[str]:
        return [entry[0] for entry in self.log]

    @property
    def ending(self) -> Ending:
        (ending,) = [entry[1] for entry in self.log if entry[0] == "leg_ended"]
        return cast(Ending, ending)

    def nothing_is_left(self) -> bool:
        world = self.world
        world.clock.advance(0)  # the time of HTTP
        return (
            not world.carrier.counts()["legs"]
            and bool(self.peer.closed)
            and not len(world.metronome)
            and not world.clock.getDelayedCalls()
        )


class LegTests(SynchronousTestCase):
    def test_audio_flows_both_ways_once_it_is_connected(self) -> None:
        caller = Caller()
        leg = caller.leg
        arrived: list[None] = []
        self.assertTrue(leg.traits.arrives_later)
        leg.arrive().addCallback(lambda _: arrived.append(None))
        caller.world.advance(0.2)
        self.assertEqual((caller.peer.sent, arrived), ([], []))
        caller.peer.connect()
        self.assertEqual(arrived, [None])
        # Packets are sent all the time, so that nothing on the path takes it for dead.
        caller.world.advance(0.1)
        self.assertEqual(len(caller.heard()), 5)
        for n in range(1, 11):
            leg.play(bytes([n]) * 160)
            caller.say(bytes([n]) * 160)
            caller.world.advance(0.02)
        caller.world.advance(0.3)
        spoken = [p.payload for p in caller.heard()]
        for n in range(1, 11):
            self.assertIn(bytes([n]) * 160, spoken)
            self.assertIn(bytes([n]) * 160, caller.board.call.audio)

    def test_the_call_begins_whichever_side_is_ready_first(self) -> None:
        caller = Caller()
        caller.peer.connect()
        self.successResultOf(caller.leg.arrive())

    def test_packets_with_another_key_are_not_heard(self) -> None:
        caller = Caller()
        packet = rtp.serialize(0, True, 1, 160, 7, bytes(160))
        caller.peer.received(packet, REMOTE)
        caller.peer.connect()
        caller.peer.received(packet, REMOTE)
        sealed = caller.srtp.protect(rtp.serialize(0, True, 2, 320, 7, bytes(160)))
        caller.peer.received(sealed[:-1] + bytes([sealed[-1] ^ 1]), REMOTE)
        caller.world.advance(0.3)
        self.assertNotIn("caller_audio", caller.names())
        caller.peer.received(sealed, REMOTE)
        caller.peer.received(sealed, REMOTE)
        caller.world.advance(0.3)
        self.assertEqual(caller.leg.network_stats().packets_in, 1)

    def test_digits_go_in_both_directions(self) -> None:
        caller = Caller()
        caller.peer.connect()
        for marker, payload in key_packets("7", 1280, 160):
            caller.say(payload, 126, marker=marker)
        self.assertIn(("digit_pressed", "7"), caller.log)
        self.assertTrue(caller.leg.send_digits("5"))
        caller.world.advance(0.4)
        kinds = [packet.payload_type for packet in caller.heard()]
        self.assertIn(126, kinds)
        without = Caller(BROWSER.replace("a=rtpmap:126 telephone-event/8000\r\n", ""))
        without.peer.connect()
        self.assertFalse(without.leg.send_digits("5"))

    def test_the_first_supported_codec_of_the_offer_is_used(self) -> None:
        for order, codec, kind in ((" 0 8 ", PCMU, 0), (" 8 0 ", PCMA, 8)):
            caller = Caller(BROWSER.replace(" 0 8 ", order))
            self.assertEqual(caller.leg.codec, codec)
            caller.peer.connect()
            caller.world.advance(0.02)
            self.assertEqual(caller.heard()[0].payload_type, kind)

    def test_the_answer_names_the_gateways_ssrc(self) -> None:
        board = RecordingSwitchboard([])
        world = RtcWorld(board)
        answer = world.offer(BROWSER).body.decode()
        leg = cast(WebRtcLeg, board.legs[0])
        self.assertIn(f"a=ssrc:{leg.ssrc} cname:{leg.cname}\r\n", answer)
        world.carrier.peers[0].connect()
        world.advance(0.02)
        sent = SrtpCodec(THEIRS).unprotect(world.carrier.peers[0].sent[0])
        self.assertEqual(rtp.parse(sent).ssrc, leg.ssrc)

    def test_a_caller_cannot_be_transferred(self) -> None:
        caller = Caller()
        self.failureResultOf(caller.leg.transfer("+12065550100"), TransferFailed)

    def test_a_caller_that_never_connects_is_not_waited_for(self) -> None:
        caller = Caller()
        caller.leg.arrive()
        caller.world.advance(25)
        self.assertEqual(caller.ending.outcome, Outcome.CALLER_LOST)
        self.assertIn("20 s", caller.ending.reason)
        self.assertTrue(caller.nothing_is_left())
        self.assertEqual(caller.world.ask("DELETE", caller.place).status, 404)

    def test_each_failure_of_the_peer_has_its_outcome(self) -> None:
        for kind, early, late in (
            (PeerFailure.CLOSED_BY_PEER, Outcome.ABANDONED, Outcome.COMPLETED),
            (PeerFailure.CONSENT_LOST, Outcome.CALLER_LOST, Outcome.CALLER_LOST),
            (PeerFailure.NO_PATH, Outcome.CALLER_LOST, Outcome.CALLER_LOST),
            *(
                (kind, Outcome.CALLER_PROTOCOL_ERROR, Outcome.CALLER_PROTOCOL_ERROR)
                for kind in (
                    PeerFailure.FINGERPRINT,
                    PeerFailure.NO_SRTP_PROFILE,
                    PeerFailure.DTLS_FAILED,
                )
            ),
        ):
            for is_connected, outcome in ((False, early), (True, late)):
                caller = Caller()
                if is_connected:
                    caller.peer.connect()
                caller.peer.user.peer_failed("why", kind)
                # As after a DELETE, which a browser sends at the same time.
                is_goodbye = kind is PeerFailure.CLOSED_BY_PEER
                why = "the caller hung up" if is_goodbye else "why"
                self.assertEqual(caller.ending, Ending(outcome, why))
                self.assertTrue(caller.nothing_is_left())

    def test_a_caller_without_a_microphone_stays_connected(self) -> None:
        """Consent checks show that it is alive, and the call has its own limits."""
        caller = Caller()
        caller.peer.connect()
        caller.world.advance(120)
        self.assertNotIn("leg_ended", caller.names())

    def test_a_bug_ends_this_call(self) -> None:
        caller, other = Caller(), Caller()

        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        self.patch(other.world.metronome, "add_each", fail)
        for one in (caller, other):
            one.peer.connect()
        self.assertEqual(other.ending.outcome, Outcome.INTERNAL_ERROR)
        self.assertTrue(other.nothing_is_left())
        self.assertNotIn("leg_ended", caller.names())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class FateTests(SynchronousTestCase):
    """In any order of events, a call ends once and leaves nothing behind."""

    ACTS = (
        "connect",
        "delete",
        "closed",
        "lost",
        "hang_up",
        "say",
        "play",
        "wait",
        "arrive",
    )

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(ACTS), max_size=8), st.booleans())
    def test_it_ends_once(self, acts: list[str], is_long: bool) -> None:
        caller = Caller()
        ends = ("delete", "closed", "lost", "hang_up")
        asked = False
        for act in acts:
            if act == "connect":
                caller.peer.connect()
            elif act == "delete":
                was_there = not caller.peer.closed
                said = caller.world.ask("DELETE", caller.place)
                self.assertEqual(said.status, 200 if was_there else 404)
            elif act in ("closed", "lost") and not caller.peer.closed:
                kind = {
                    "closed": PeerFailure.CLOSED_BY_PEER,
                    "lost": PeerFailure.CONSENT_LOST,
                }[act]
                caller.peer.user.peer_failed(act, kind)
            elif act == "hang_up":
                caller.leg.hang_up(Ending(Outcome.COMPLETED, "bye"))
            elif act == "say":
                caller.say(bytes(160))
            elif act == "play":
                caller.leg.play(bytes(160))
            elif act == "arrive" and not asked:
                asked = True
                caller.leg.arrive()
            elif act == "wait":
                caller.world.advance(30 if is_long else 0.1)
        overdue = (
            is_long and "wait" in acts and "connect" not in acts[: acts.index("wait")]
        )
        is_over = overdue or any(act in ends for act in acts)
        self.assertEqual(bool(caller.peer.closed), is_over)
        self.assertLessEqual(caller.names().count("leg_ended"), 1)
        if is_over:
            self.assertTrue(caller.nothing_is_left())
        # An end by the call itself is not reported to it.
        first = next((act for act in acts if act in ends), "")
        if is_over and first != "hang_up" and not overdue:
            self.assertEqual(caller.names().count("leg_ended"), 1)
