"""
WebRTC descriptions.  The files in C{offers} have the form that the named program uses,
with made-up addresses, names and keys.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.wire.sdp.audio_stream import Direction
from chime_gateway.wire.sdp.description import MAX_BYTES, Media, SdpError, parse
from chime_gateway.wire.sdp.transport import Fingerprint, Setup, Transport
from chime_gateway.wire.sdp.webrtc import (
    LocalSide,
    RtcDescription,
    format_answer,
    format_offer,
    parse_answer,
    parse_offer,
)
from chime_gateway.wire.webrtc.candidate import Candidate, Credentials

OFFERS: Final = {
    path.stem: path.read_bytes()
    for path in sorted((Path(__file__).parent / "offers").glob("*.sdp"))
}
CALLS: Final = sorted(set(OFFERS) - {"opus_only", "service_answer"})

DIGEST: Final = bytes(range(32))
OURS: Final = LocalSide(
    session_id=4611,
    host="192.0.2.10",
    port=41000,
    transport=Transport(
        credentials=Credentials("gw4f1a", "0123456789abcdef" * 2),
        fingerprints=(Fingerprint("sha-256", DIGEST),),
        setup=Setup.ACTPASS,
        candidates=(
            Candidate("192.0.2.10", 41000, 2130706431),
            Candidate("192.0.2.10", 443, 9, "2", "tcp", tcp_type="passive"),
        ),
    ),
    codecs=((0, PCMU), (8, PCMA)),
    telephone_event=101,
    ssrc=4242,
    cname="gw",
)


def answering(offer: RtcDescription) -> LocalSide:
    audio = offer.audio
    setup = offer.transport.setup.answer(Setup.PASSIVE)
    return evolve(
        OURS,
        transport=evolve(OURS.transport, setup=setup, is_lite=True),
        codecs=audio.codecs[:1],
        telephone_event=audio.telephone_event,
        direction=audio.direction.reverse,
    )


class OffersTests(SynchronousTestCase):
    def offer(self, name: str) -> RtcDescription:
        return parse_offer(OFFERS[name])

    def addresses(self, name: str) -> list[tuple[str, str, int]]:
        candidates = self.offer(name).transport.candidates
        return [(one.transport, one.host, one.port) for one in candidates]

    def test_every_example_offer_has_what_a_call_needs(self) -> None:
        expected = {
            "aiortc": ((0, 8), None, "0", 1845421567, "Xx8Q"),
            "asterisk": (
                *((0, 8), 101, "audio-0", 1203371512),
                "4a2b62f33d0c6a0b7f1f5a7d5b1a9c41",
            ),
            "chromium": ((0, 8), 126, "0", 3570614608, "4Zcu"),
            "firefox": ((0, 8), 101, "0", 2655508255, "9d6d7b7b"),
            "freeswitch": ((0, 8), 101, "", 1764433912, "xk8ysZVjNfMD2S47"),
            "livekit": ((0, 8), None, "1", 3315227617, "vGpNBdQCUyUJqEyC"),
            "max_bundle": ((8, 0), None, "a", None, "4Zcu"),
            "safari": ((0, 8), 126, "0", 1199571131, "jKx3"),
            "werift": ((0,), None, "0", 921873465, "8c1f"),
        }
        self.assertEqual(CALLS, sorted(expected))
        for name in CALLS:
            offer = self.offer(name)
            found = (
                tuple(number for number, _ in offer.audio.codecs),
                offer.audio.telephone_event,
                *(offer.mid, offer.ssrc, offer.transport.credentials.ufrag),
            )
            self.assertEqual(found, expected[name], name)
            self.assertIs(offer.transport.setup, Setup.ACTPASS)
            self.assertEqual(offer.transport.is_lite, name == "livekit")
            first = offer.transport.fingerprints[0]
            self.assertEqual((first.hash, first.digest[:2]), ("sha-256", b"\x2a\x5c"))

    def test_usable_candidates_are_read_best_first(self) -> None:
        self.assertEqual(
            self.addresses("chromium"),
            [
                ("udp", "192.0.2.44", 56032),
                ("udp", "2001:db8:77::12", 60914),
                ("udp", "203.0.113.20", 56032),
                ("tcp", "192.0.2.44", 9),
            ],
        )
        self.assertEqual(self.addresses("safari"), [])
        self.assertEqual(self.addresses("freeswitch"), [("udp", "203.0.113.20", 18822)])
        self.assertEqual(self.addresses("max_bundle"), [("udp", "192.0.2.44", 56032)])
        # The candidates of the section whose transport the bundle uses.
        expected = [("udp", "203.0.113.20", 50031), ("tcp", "203.0.113.20", 7881)]
        self.assertEqual(self.addresses("livekit"), expected)

    def test_all_acceptable_fingerprints_are_read(self) -> None:
        found = self.offer("aiortc").transport.fingerprints
        self.assertEqual([one.hash for one in found], ["sha-256", "sha-384", "sha-512"])

    def test_an_unspecified_address_does_not_mean_hold(self) -> None:
        for name in set(CALLS) - {"max_bundle"}:
            self.assertIs(self.offer(name).audio.direction, Direction.SENDRECV, name)
        audio = self.offer("max_bundle").audio
        self.assertEqual((audio.direction, audio.ptime_ms), (Direction.RECVONLY, 40))

    def test_an_offer_of_opus_alone_is_refused_with_the_supported_codecs(self) -> None:
        error = self.assertRaises(SdpError, parse_offer, OFFERS["opus_only"])
        self.assertEqual(
            str(error),
            "PCMU or PCMA is needed; there is only OPUS, TELEPHONE-EVENT",
        )

    def refused(self, old: bytes, new: bytes, name: str = "werift") -> str:
        self.assertIn(old, OFFERS[name])
        body = OFFERS[name].replace(old, new)
        return str(self.assertRaises(SdpError, parse_offer, body))

    def test_an_error_names_what_is_missing(self) -> None:
        for old, new, reason in (
            (b"a=ice-ufrag:8c1f\r\n", b"", "there is no ICE (a=ice-ufrag, a=ice-pwd)"),
            (b"a=ice-ufrag:8c1f", b"a=ice-ufrag:8", "not an ice-ufrag"),
            (b"a=ice-pwd:", b"a=ice-pwd:\xc3\xa4", "not an ice-pwd"),
            (b"a=rtcp-mux\r\n", b"", "RTCP must come with RTP (a=rtcp-mux)"),
            (b"ACTPASS", b"holdconn", "the value of a=setup is unknown"),
            (b"UDP/TLS/RTP/SAVPF", b"RTP/AVP", "audio over RTP/AVP is not WebRTC"),
            (b"m=audio 9", b"m=audio 0", "the audio is switched off (port 0)"),
            (b"m=audio", b"m=video", "there is no audio"),
            (b"a=mid:0", b"a=mid:0 1", "a=mid is malformed"),
            (b"v=0", b"v=1", "not a session description"),
        ):
            self.assertEqual(self.refused(old, new), reason)
        needed = "there is no fingerprint of SHA-256 or better (a=fingerprint)"
        for new in (b"sha-1", b"md5", b"sha-512", b"sha-256 ZZ:", b"", b"sha-256 2A:"):
            self.assertEqual(self.refused(b"sha-256", new), needed)

    def test_excessive_values_are_refused_or_ignored(self) -> None:
        self.refused(b"a=mid:0", b"a=mid:" + b"0" * MAX_BYTES)
        self.refused(b"a=mid:0", b"a=x\r\n" * 600)
        many = b"".join(b"m=video 9 RTP/SAVPF 96\r\n" for _ in range(40))
        self.refused(b"m=audio", many + b"m=audio")
        flood = b"".join(
            b"a=candidate:1 1 udp %d 192.0.2.%d %d typ host\r\n" % (n, n % 250 + 1, n)
            for n in range(1, 250)
        )
        body = OFFERS["werift"].replace(b"a=mid:0", flood + b"a=mid:0")
        found = parse_offer(body).transport.candidates
        self.assertEqual(len(found), 16)
        self.assertEqual(found[1].port, 249)

    def test_the_peer_s_words_in_an_error_are_short_and_ascii(self) -> None:
        names = b"".join(
            b"a=rtpmap:%d %s/8000\r\n" % (n, b"\xc3\xa4" if n % 2 else b"x" * 400)
            for n in range(96, 120)
        )
        types = b" ".join(b"%d" % n for n in range(96, 120))
        body = OFFERS["werift"].replace(b"SAVPF 0", b"SAVPF " + types)
        error = self.assertRaises(
            SdpError, parse_offer, body.replace(b"a=mid:0", names + b"a=mid:0")
        )
        self.assertTrue(str(error).isascii())
        self.assertLess(len(str(error)), 250)


class AnswersTests(SynchronousTestCase):
    def test_the_service_s_answer_is_read(self) -> None:
        answer = parse_answer(OFFERS["service_answer"])
        transport = answer.transport
        self.assertEqual(answer.audio.codecs, ((0, PCMU),))
        self.assertIs(transport.setup, Setup.ACTIVE)
        self.assertEqual(transport.credentials.ufrag, "Ab/+1")
        self.assertEqual(
            [(c.transport, c.port, c.tcp_type) for c in transport.candidates],
            [("udp", 3478, ""), ("tcp", 443, "passive")],
        )
        self.assertIsNone(answer.ssrc)

    def test_an_answer_that_does_not_match_is_rejected(self) -> None:
        good = OFFERS["service_answer"]
        for body in (
            good.replace(b"m=audio 9", b"m=audio 0"),
            good.replace(b"m=audio", b"m=video"),
            good.replace(b"a=setup:active", b"a=setup:actpass"),
            good.replace(b"a=setup:active", b"a=x"),
            good + b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
            good[: good.index(b"m=audio")],
            b"",
        ):
            self.assertRaises(SdpError, parse_answer, body)


class WritingTests(SynchronousTestCase):
    def test_our_offer_is_read_back(self) -> None:
        offer = parse_offer(format_offer(OURS))
        self.assertEqual(offer.transport, OURS.transport)
        self.assertEqual(offer.audio.codecs, OURS.codecs)
        self.assertEqual((offer.mid, offer.ssrc), ("0", 4242))
        self.assertEqual(offer.audio.telephone_event, 101)
        text = format_offer(OURS).decode()
        for line in ("a=group:BUNDLE 0", "a=rtcp-mux", "a=msid:- gw"):
            self.assertIn(f"\r\n{line}\r\n", text)

    def sections(self, name: str) -> tuple[list[Media], list[Media], RtcDescription]:
        offer = parse_offer(OFFERS[name])
        answer = parse(format_answer(answering(offer), offer))
        return offer.description.media, answer.media, offer

    def test_an_answer_has_every_section_and_accepts_one(self) -> None:
        for name in CALLS:
            theirs, ours, offer = self.sections(name)
            self.assertEqual(
                [(one.kind, one.protocol, one.get("mid")) for one in ours],
                [(one.kind, one.protocol, one.get("mid")) for one in theirs],
            )
            taken = [n for n, one in enumerate(ours) if one.port]
            self.assertEqual(taken, [offer.audio.index], name)

    def test_the_answer_describes_what_was_accepted(self) -> None:
        for name in CALLS:
            offer = parse_offer(OFFERS[name])
            text = format_answer(answering(offer), offer)
            answer = parse_offer(text)
            self.assertEqual(answer.mid, offer.mid)
            self.assertEqual(answer.audio.codecs, offer.audio.codecs[:1])
            self.assertEqual(answer.audio.telephone_event, offer.audio.telephone_event)
            self.assertIs(answer.audio.direction, offer.audio.direction.reverse)
            self.assertIs(answer.transport.setup, Setup.PASSIVE)
            self.assertTrue(answer.transport.is_lite)
            self.assertEqual(answer.ssrc, 4242)
            bundle = f"a=group:BUNDLE {offer.mid}\r\n".encode()
            self.assertEqual(bundle in text, bool(offer.mid), name)

    def test_the_answered_dtls_role_follows_from_the_offer(self) -> None:
        for theirs, wanted, ours in (
            (Setup.ACTPASS, Setup.ACTIVE, Setup.ACTIVE),
            (Setup.ACTPASS, Setup.PASSIVE, Setup.PASSIVE),
            (Setup.ACTIVE, Setup.ACTIVE, Setup.PASSIVE),
            (Setup.PASSIVE, Setup.PASSIVE, Setup.ACTIVE),
        ):
            self.assertIs(theirs.answer(wanted), ours)


class HostileTests(SynchronousTestCase):
    """
    Any modified description is either read, or rejected with L{SdpError}; and the
    answer to one that was read can be read, too.
    """

    def check(self, body: bytes) -> None:
        with contextlib.suppress(SdpError):
            parse_answer(body)
        try:
            offer = parse_offer(body)
        except SdpError as exc:
            self.assertLess(len(str(exc)), 2000)
            return
        answer = format_answer(answering(offer), offer)
        self.assertEqual(
            [one.kind for one in parse(answer).media],
            [
                one.kind.encode("ascii", "replace").decode()
                for one in offer.description.media
            ],
        )
        self.assertEqual(parse_offer(answer).transport.fingerprints[0].digest, DIGEST)

    @given(st.sampled_from(sorted(OFFERS)), st.data())
    def test_a_truncated_description_is_read_or_rejected(
        self, name: str, data: st.DataObject
    ) -> None:
        body = OFFERS[name]
        self.check(body[: data.draw(st.integers(0, len(body)))])

    @settings(max_examples=200)
    @given(
        st.sampled_from(sorted(OFFERS)),
        st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 9))),
    )
    def test_a_modified_description_is_read_or_rejected(
        self, name: str, changes: list[tuple[float, bytes, int]]
    ) -> None:
        body = OFFERS[name]
        for where, new, drop in changes:
            at = int(where * len(body))
            body = body[:at] + new + body[at + drop :]
        self.check(body)

    @settings(max_examples=200)
    @given(
        st.lists(
            st.sampled_from(
                sorted({x for body in OFFERS.values() for x in body.split(b"\r\n")})
            ),
            max_size=60,
        )
    )
    def test_shuffled_lines_are_read_or_rejected(self, lines: list[bytes]) -> None:
        self.check(b"\n".join([b"v=0", *lines]))

    @given(st.binary(max_size=400))
    def test_random_bytes_are_read_or_rejected(self, body: bytes) -> None:
        self.check(body)
        self.check(OFFERS["werift"] + body)
