"""Offers and answers, checked against the rules of RFC 3264."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.carriers.sip.offer_answer import NotAcceptable, SessionDescriptions
from chime_gateway.codec.registry import decode, encode
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.wire.rtp.dtmf import key_packets
from chime_gateway.wire.sdp.audio_stream import OFFERED_EVENT_TYPE
from chime_gateway.wire.sdp.keying import LocalKeying
from chime_gateway.wire.sdp.transport import Fingerprint
from chime_gateway.wire.webrtc.candidate import Credentials
from tests.support.rfc3264 import (
    answer_faults,
    change_faults,
    read,
    reoffer_faults,
)
from tests.support.rtp_stream import REMOTE, StreamTestCase, speech
from tests.support.sdp_offers import ALLOWED, KEY30, Offer, offers

_HEAD = f"v=0\r\no=- 1 1 IN IP4 {ALLOWED}\r\ns=-\r\nc=IN IP4 {ALLOWED}\r\nt=0 0\r\n"
_ON = "m=audio 4 RTP/AVP 0\r\n"
_TURNS = (
    *(_ON, "m=audio 0 RTP/AVP 0\r\n", "m=audio 0 RTP/AVP 8 0\r\nm=video 0 X 1\r\n"),
    *(
        "m=audio 0 RTP/AVP 0\r\nm=image 5 udptl t38\r\n",
        "m=audio 4 RTP/AVP 0\r\na=inactive\r\n",
    ),
)


KEYING = LocalKeying(
    fingerprint=Fingerprint("sha-256", bytes(32)),
    credentials=Credentials("ours", "0123456789abcdefghijkl"),
)


def descriptions(*, requires_srtp: bool = False) -> SessionDescriptions:
    return SessionDescriptions(
        host="192.0.2.10",
        port=40000,
        codecs=(PCMU, PCMA),
        requires_srtp=requires_srtp,
        is_allowed=lambda host: host == ALLOWED,
        session_id=7,
        local_keying=lambda: KEYING,
    )


class OfferAnswerTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(offers())
    def test_any_offer_is_answered_correctly_or_rejected_with_the_reason(
        self, offer: Offer
    ) -> None:
        try:
            terms, answer = descriptions().take_offer(offer.text.encode())
        except NotAcceptable as exc:
            self.assertFalse(offer.fits, f"{exc}: {offer.text}")
            self.assertEqual(str(exc), offer.reason)
            return
        self.assertEqual(answer_faults(offer.text, answer.decode()), [], offer.text)
        taken = [n for n, line in enumerate(read(answer.decode()).lines) if line.port]
        self.assertEqual(len(taken), 1)
        # The first acceptable stream is accepted.
        first = next(n for n, s in enumerate(offer.streams) if s.fault is None)
        self.assertEqual(taken, [first])
        line = read(offer.text).lines[first]
        self.assertEqual(terms.remote, (ALLOWED, line.port))
        is_over_dtls = line.protocol.startswith("UDP/TLS")
        self.assertEqual(terms.dtls is not None, is_over_dtls)
        has_keys = "SAVP" in line.protocol and not is_over_dtls
        self.assertEqual(terms.keys is not None, has_keys)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(offers(), st.booleans()), min_size=2, max_size=5))
    def test_a_session_keeps_its_lines_and_versions_whichever_side_offers(
        self, rounds: list[tuple[Offer, bool]]
    ) -> None:
        ours = descriptions()
        said = ""
        for offer, is_whole in rounds:
            try:
                _, answer = ours.take_offer(offer.text.encode())
            except NotAcceptable:
                continue
            if said:
                self.assertEqual(change_faults(said, answer.decode()), [])
            said = answer.decode()
            again = (ours.make_offer() if is_whole else ours.repeat_offer()).decode()
            self.assertEqual(change_faults(said, again), [])
            self.assertEqual(reoffer_faults(said, again), [])
            said = again
            # The gateway's offer can be answered with its own answer, roles reversed.
            terms = ours.terms
            other = answer.decode().replace("192.0.2.10", ALLOWED)
            self.assertEqual(
                ours.take_answer(other.encode()).codec, terms and terms.codec
            )

    def test_a_stream_in_use_is_preferred_and_may_move(self) -> None:
        ours = descriptions()
        two = f"{_HEAD}m=audio 4 RTP/AVP 18\r\nm=audio 6 RTP/AVP 8\r\n"
        terms, answer = ours.take_offer(two.encode())
        self.assertIn(
            "m=audio 0 RTP/AVP 18\r\nm=audio 40000 RTP/AVP 8", answer.decode()
        )
        both = f"{_HEAD}m=audio 4 RTP/AVP 0\r\nm=audio 6 RTP/AVP 8\r\n"
        terms, answer = ours.take_offer(both.encode())
        self.assertEqual(terms.remote, (ALLOWED, 6))
        other = f"{_HEAD}m=audio 4 RTP/AVP 0\r\nm=audio 0 RTP/AVP 8\r\n"
        terms, answer = ours.take_offer(other.encode())
        self.assertEqual(terms.remote, (ALLOWED, 4))
        self.assertEqual(answer_faults(other, answer.decode()), [])

    def test_of_srtp_and_rtp_the_required_srtp_is_accepted(self) -> None:
        key = f"a=crypto:4 aes_cm_128_hmac_sha1_80 inline:{KEY30}\r\n"
        text = f"{_HEAD}m=audio 4 RTP/AVP 0\r\nm=audio 6 RTP/SAVP 0\r\n{key}"
        terms, answer = descriptions(requires_srtp=True).take_offer(text.encode())
        self.assertEqual(terms.remote, (ALLOWED, 6))
        self.assertIn("a=crypto:4 aes_cm_128_hmac_sha1_80 inline:", answer.decode())
        self.assertEqual(answer_faults(text, answer.decode()), [])
        terms, _ = descriptions().take_offer(text.encode())
        self.assertEqual(terms.remote, (ALLOWED, 4))

    def test_an_initial_offer_with_all_streams_disabled_is_rejected(self) -> None:
        ours = descriptions()
        with self.assertRaisesRegex(NotAcceptable, r"switched off \(port 0\)\Z"):
            ours.take_offer(f"{_HEAD}m=audio 0 RTP/AVP 0\r\n".encode())

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(_TURNS), st.booleans()), max_size=6))
    def test_audio_can_be_disabled_and_enabled_in_a_session(
        self, turns: list[tuple[str, bool]]
    ) -> None:
        ours = descriptions()
        ours.take_offer(f"{_HEAD}{_ON}".encode())
        for lines, is_refreshed in [*turns, (_ON, False)]:
            text = f"{_HEAD}{lines}"
            if "image 5" in text:
                # A change to fax is more than disabled audio.
                with self.assertRaises(NotAcceptable):
                    ours.take_offer(text.encode())
                continue
            terms, answer = ours.take_offer(text.encode())
            self.assertEqual(answer_faults(text, answer.decode()), [])
            is_on = lines == _ON
            self.assertEqual((terms.sends, terms.receives), (is_on, is_on))
            self.assertEqual(terms.remote, (ALLOWED, 4))
            if is_refreshed:
                # A refresh of the session does not enable anything.
                again = read(ours.repeat_offer().decode())
                before = [line.port for line in read(answer.decode()).lines]
                self.assertEqual([line.port for line in again.lines], before)
                same = ours.take_answer(text.encode())
                self.assertEqual((same.sends, same.receives), (is_on, is_on))


class HearingTests(StreamTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        st.permutations([(0, "PCMU"), (8, "PCMA")]),
        st.integers(1, 2),
        st.one_of(st.none(), st.integers(96, 127)),
        st.booleans(),
    )
    def test_every_negotiated_codec_is_heard_at_any_time(
        self,
        order: list[tuple[int, str]],
        count: int,
        event: int | None,
        is_offered_by_us: bool,
    ) -> None:
        self.setUp()
        formats = [str(number) for number, _ in order[:count]]
        lines = [f"a=rtpmap:{number} {name}/8000" for number, name in order[:count]]
        if event is not None:
            formats.append(str(event))
            lines.append(f"a=rtpmap:{event} telephone-event/8000")
        text = f"{_HEAD}m=audio {REMOTE[1]} RTP/AVP {' '.join(formats)}\r\n"
        body = (text + "\r\n".join(lines) + "\r\n").encode()
        ours = descriptions()
        if is_offered_by_us:
            ours.make_offer()
            terms = ours.take_answer(body)
        else:
            terms, _ = ours.take_offer(body)
        self.stream.agree(terms)
        self.stream.agree(evolve(terms, remote=("198.51.100.1", 2)))
        self.stream.agree(terms)
        self.assertEqual(
            (terms.payload_type, terms.telephone_event), (order[0][0], event)
        )
        said = speech(0.4)[:2880]
        for number in range(18):
            kind, _ = order[number % count]
            frame = said[number * 160 : number * 160 + 160]
            if kind == 8:
                frame = encode(PCMA, decode(PCMU, frame))
            self.come(number, frame, payload_type=kind)
        score, lag = correlation(decode(PCMU, said), decode(PCMU, self.ear.audio))
        self.assertGreater(score, 0.99)
        self.assertEqual((lag, len(self.ear.audio)), (0, 2880))
        events = {event, OFFERED_EVENT_TYPE} if is_offered_by_us else {event}
        if event is None:
            return
        for number, kind in enumerate(sorted(e for e in events if e is not None)):
            for at, (_, payload) in enumerate(key_packets("7", 800, 160)):
                self.come(
                    18 + 7 * number + at,
                    payload,
                    payload_type=kind,
                    timestamp=2880 + 2000 * number,
                )
        self.assertEqual(self.ear.digits, "7" * len(events))
