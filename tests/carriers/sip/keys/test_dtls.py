"""SIP calls whose keys are negotiated by DTLS."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.outcomes import Outcome
from chime_gateway.rtp.ports import Address
from chime_gateway.rtp.srtp import SrtpCodec
from chime_gateway.webrtc.certificate import Certificate, new_certificate
from chime_gateway.webrtc.dtls import ClosedError, Dtls
from chime_gateway.wire.rtp import packet as rtp
from chime_gateway.wire.sdp.transport import Fingerprint
from chime_gateway.wire.sip.message import Request, Response
from chime_gateway.wire.webrtc import stun
from chime_gateway.wire.webrtc.stun import Message, MessageClass
from tests.support.sip_peer import MEDIA, SDP, SipWorld

THEIRS, OTHERS = new_certificate(), new_certificate()
MEDIA_RTCP: Address = (MEDIA[0], MEDIA[1] + 1)
UFRAG, PASSWORD = "theirs", "0123456789abcdefghijkl"


def offer(
    *more: str,
    setup: str = "actpass",
    is_muxed: bool = True,
    profile: str = "UDP/TLS/RTP/SAVP",
    certificate: Certificate = THEIRS,
) -> str:
    lines = [
        f"a=setup:{setup}",
        f"a=fingerprint:{certificate.fingerprint}",
        *(("a=rtcp-mux",) if is_muxed else ()),
        *more,
    ]
    text = SDP.replace("RTP/AVP", profile)
    return text + "".join(f"{line}\r\n" for line in lines)


ICE = (f"a=ice-ufrag:{UFRAG}", f"a=ice-pwd:{PASSWORD}")


class Trunk:
    """
    The peer: a call that is answered, and DTLS over its ports.

    @ivar answer: the gateway's description.
    """

    def __init__(self, body: str, certificate: Certificate = THEIRS) -> None:
        self.world = SipWorld()
        self.certificate = certificate
        self.tag = self.answered(body)
        self.number = 0

    def answered(self, body: str) -> str:
        world = self.world
        world.invite(body=body)
        world.leg.answer()
        response = world.heard()[-1]
        assert isinstance(response, Response) and response.status == 200, response
        self.answer = response.body.decode()
        world.say(world.request("ACK", to_tag=response.to_tag, cseq=world.cseq))
        return response.to_tag

    def value(self, name: str) -> str:
        found = re.search(rf"a={name}:(.*)\r\n", self.answer)
        assert found is not None, self.answer
        return found[1]

    def association(self, *, is_client: bool) -> Dtls:
        name, _, digits = self.value("fingerprint").partition(" ")
        fingerprint = Fingerprint(name, bytes.fromhex(digits.replace(":", "")))
        return Dtls(self.certificate, is_client=is_client, fingerprints=(fingerprint,))

    def shake(
        self, dtls: Dtls, source: Address = MEDIA, *, is_rtcp: bool = False
    ) -> None:
        """Deliver all that both sides send."""
        port = self.world.port
        sent = port.sent_rtcp if is_rtcp else port.sent
        receive: Callable[[bytes, Address], None] = (
            port.receive_rtcp if is_rtcp else port.receive_rtp
        )
        dtls.start(0.0)
        for _ in range(20):
            for data in dtls.outbox:
                receive(data, source)
            dtls.outbox.clear()
            theirs = [data for data, to in sent if 20 <= data[0] <= 63 and to == source]
            sent[:] = [one for one in sent if not 20 <= one[0][0] <= 63]
            for data in theirs:
                dtls.received(0.0, data)

    def talk(self, dtls: Dtls) -> None:
        assert dtls.keys is not None
        self.srtp = SrtpCodec(dtls.keys)

    def say(self, payload: bytes, source: Address = MEDIA) -> None:
        self.number += 1
        at = round(self.world.reactor.seconds() * 8000)
        packet = rtp.serialize(0, False, self.number, at, 7, payload)
        self.world.port.receive_rtp(self.srtp.protect(packet), source)

    def heard(self) -> list[bytes]:
        found = []
        for data, _ in self.world.port.sent:
            if data[0] >= 128 and not rtp.is_rtcp(data):
                found.append(rtp.parse(self.srtp.unprotect(data)).payload)
        self.world.port.sent.clear()
        return found

    def assert_talks(self, case: SynchronousTestCase) -> None:
        self.world.advance(0.1)
        self.heard()
        self.world.leg.play(b"\x11" * 160)
        self.world.advance(0.06)
        case.assertIn(b"\x11" * 160, self.heard())
        call = self.world.switchboard.call
        before = len(call.audio)
        for _ in range(10):
            self.say(b"\x22" * 160)
            self.world.advance(0.02)
        self.world.advance(0.2)
        case.assertIn(b"\x22" * 160, call.audio[before:])


class DtlsTests(SynchronousTestCase):
    def test_both_profiles_and_all_roles_are_supported(self) -> None:
        for profile in ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"):
            for setup, ours in (
                ("actpass", "passive"),
                ("active", "passive"),
                ("passive", "active"),
            ):
                trunk = Trunk(offer(setup=setup, profile=profile))
                self.assertIn(f"m=audio 40000 {profile} 0 101\r\n", trunk.answer)
                self.assertEqual(trunk.value("setup"), ours)
                self.assertIn("a=rtcp-mux\r\n", trunk.answer)
                self.assertNotIn("a=crypto", trunk.answer)
                dtls = trunk.association(is_client=ours == "passive")
                trunk.shake(dtls)
                trunk.talk(dtls)
                trunk.assert_talks(self)

    def test_nothing_is_sent_or_heard_before_there_are_keys(self) -> None:
        trunk = Trunk(offer())
        trunk.world.leg.play(bytes(160))
        trunk.world.advance(1.0)
        packet = rtp.serialize(0, False, 1, 160, 7, bytes(160))
        trunk.world.port.receive_rtp(packet, MEDIA)
        trunk.world.advance(6.0)
        self.assertEqual((trunk.world.port.sent, trunk.world.port.sent_rtcp), ([], []))
        self.assertEqual(trunk.world.switchboard.call.audio, b"")

    def test_rtcp_on_a_separate_port_has_separate_keys(self) -> None:
        trunk = Trunk(offer(is_muxed=False))
        self.assertNotIn("rtcp-mux", trunk.answer)
        dtls = trunk.association(is_client=True)
        trunk.shake(dtls)
        trunk.talk(dtls)
        trunk.assert_talks(self)
        trunk.world.advance(6.0)
        # RTCP is not sent before it has keys of its own.
        self.assertEqual(trunk.world.port.sent_rtcp, [])
        other = trunk.association(is_client=True)
        trunk.shake(other, MEDIA_RTCP, is_rtcp=True)
        assert other.keys is not None
        trunk.world.advance(6.0)
        reports = trunk.world.port.sent_rtcp
        self.assertNotEqual(reports, [])
        for data, _ in reports:
            SrtpCodec(other.keys).unprotect_rtcp(data)
        trunk.assert_talks(self)

    def test_a_peer_without_rtcp_is_served(self) -> None:
        trunk = Trunk(offer(is_muxed=False))
        dtls = trunk.association(is_client=True)
        trunk.shake(dtls)
        trunk.talk(dtls)
        for _ in range(20):
            trunk.say(bytes(160))
            trunk.world.advance(2.0)
        trunk.assert_talks(self)

    def test_a_certificate_that_was_not_announced_ends_the_call(self) -> None:
        trunk = Trunk(offer(), OTHERS)
        dtls = trunk.association(is_client=True)
        with self.assertRaises(ClosedError):
            trunk.shake(dtls)
        self.assert_ended(trunk, "fingerprint")

    def test_a_peer_without_a_handshake_is_not_waited_for(self) -> None:
        trunk = Trunk(offer())
        trunk.world.advance(31.0)
        self.assert_ended(trunk, "too long")

    def test_a_peer_without_connectivity_checks_is_not_waited_for(self) -> None:
        trunk = Trunk(offer(*ICE))
        trunk.world.advance(31.0)
        self.assert_ended(trunk, "no path")

    def assert_ended(self, trunk: Trunk, why: str) -> None:
        (ending,) = [e[1] for e in trunk.world.log if e[0] == "leg_ended"]
        self.assertEqual(ending.outcome, Outcome.CALLER_PROTOCOL_ERROR)
        self.assertIn(why, ending.reason)
        methods = [m.method for m in trunk.world.heard() if isinstance(m, Request)]
        self.assertIn("BYE", methods)
        self.assertEqual(trunk.world.ports.in_use, 0)

    def test_strangers_complete_no_handshake(self) -> None:
        trunk = Trunk(offer())
        stranger = trunk.association(is_client=True)
        trunk.shake(stranger, ("203.0.113.9", 5000))
        self.assertIsNone(stranger.keys)
        dtls = trunk.association(is_client=True)
        trunk.shake(dtls)
        trunk.talk(dtls)
        trunk.assert_talks(self)

    def test_an_offer_without_a_fingerprint_is_rejected(self) -> None:
        for body in (
            offer().replace("a=fingerprint", "a=x"),
            offer().replace("sha-256", "md5"),
            offer(setup="holdconn"),
        ):
            world = SipWorld()
            world.invite(body=body)
            self.assertEqual(world.statuses()[-1], 488)
            self.assertEqual(world.ports.in_use, 0)

    def test_ice_is_answered_and_finds_the_path(self) -> None:
        trunk = Trunk(offer(*ICE))
        self.assertIn("a=ice-lite\r\n", trunk.answer)
        self.assertIn(" 192.0.2.10 40000 typ host\r\n", trunk.answer)
        place = (MEDIA[0], 7000)  # not where its description says
        dtls = trunk.association(is_client=True)
        trunk.shake(dtls, place)
        self.assertIsNone(dtls.keys)
        ours = trunk.value("ice-ufrag")
        check = Message(
            message_class=MessageClass.REQUEST,
            transaction=bytes(12),
            username=f"{ours}:{UFRAG}",
            priority=1,
            use_candidate=True,
            controlling=1,
        )
        trunk.world.port.receive_rtp(stun.encode(check, "x" * 22), place)
        self.assertEqual(trunk.world.port.sent, [])
        data = stun.encode(check, trunk.value("ice-pwd"))
        trunk.world.port.receive_rtp(data, place)
        ((_, to),) = trunk.world.port.sent
        self.assertEqual(to, place)
        again = trunk.association(is_client=True)
        trunk.shake(again, place)
        trunk.talk(again)
        trunk.world.advance(0.1)
        self.assertEqual({to for _, to in trunk.world.port.sent}, {place})

    def test_a_repeated_offer_keeps_the_association_and_a_new_one_does_not(
        self,
    ) -> None:
        trunk = Trunk(offer())
        dtls = trunk.association(is_client=True)
        trunk.shake(dtls)
        trunk.talk(dtls)
        trunk.assert_talks(self)
        again = trunk.world.asks("INVITE", trunk.tag, body=offer())
        self.assertEqual(again.status, 200)
        trunk.answer = again.body.decode()
        self.assertEqual(trunk.value("setup"), "passive")
        trunk.world.say(
            trunk.world.request("ACK", to_tag=trunk.tag, cseq=trunk.world.cseq)
        )
        trunk.assert_talks(self)
        trunk.certificate = OTHERS
        other = trunk.world.asks("UPDATE", trunk.tag, body=offer(certificate=OTHERS))
        self.assertEqual(other.status, 200)
        trunk.answer = other.body.decode()
        fresh = trunk.association(is_client=True)
        trunk.world.port.sent.clear()
        trunk.shake(fresh)
        trunk.talk(fresh)
        trunk.assert_talks(self)

    @settings(max_examples=12, deadline=None)
    @given(
        st.booleans(),
        st.sampled_from(("actpass", "active", "passive")),
        st.lists(st.sampled_from(("again", "hold", "resume", "refresh")), max_size=4),
    )
    def test_keys_and_roles_stay_in_any_sequence_of_repeated_offers(
        self, is_muxed: bool, setup: str, acts: list[str]
    ) -> None:
        trunk = Trunk(offer(setup=setup, is_muxed=is_muxed))
        is_client = trunk.value("setup") == "passive"
        dtls = trunk.association(is_client=is_client)
        trunk.shake(dtls)
        trunk.talk(dtls)
        role = trunk.value("setup")
        world = trunk.world
        for act in acts:
            body = offer(is_muxed=is_muxed)
            if act == "hold":
                body = body.replace("a=sendrecv", "a=sendonly")
            if act == "refresh":
                body = ""  # the gateway offers then, and the peer answers in the ACK
            response = world.asks("INVITE", trunk.tag, body=body)
            self.assertEqual(response.status, 200)
            trunk.answer = response.body.decode()
            reply = ""
            if act == "refresh":
                self.assertEqual(trunk.value("setup"), "actpass")
                mine = "active" if is_client else "passive"
                reply = offer(setup=mine, is_muxed=is_muxed)
            else:
                self.assertEqual(trunk.value("setup"), role)
            world.say(
                world.request("ACK", to_tag=trunk.tag, cseq=world.cseq, body=reply)
            )
            world.advance(0.1)
        world.asks("INVITE", trunk.tag, body=offer(is_muxed=is_muxed))
        world.say(world.request("ACK", to_tag=trunk.tag, cseq=world.cseq))
        trunk.assert_talks(self)
        self.assertFalse([e for e in world.log if e[0] == "leg_ended"])
