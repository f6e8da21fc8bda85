"""Offers and answers, held against the rules of RFC 3264."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.carriers.sip.offer_answer import NotAcceptable, SessionDescriptions
from tests.support.rfc3264 import (
    answer_faults,
    change_faults,
    read,
    reoffer_faults,
)
from tests.support.sdp_offers import ALLOWED, KEY30, Offer, offers

_HEAD = f"v=0\r\no=- 1 1 IN IP4 {ALLOWED}\r\ns=-\r\nc=IN IP4 {ALLOWED}\r\nt=0 0\r\n"


def descriptions(*, requires_srtp: bool = False) -> SessionDescriptions:
    return SessionDescriptions(
        host="192.0.2.10",
        port=40000,
        codecs=(PCMU, PCMA),
        requires_srtp=requires_srtp,
        is_allowed=lambda host: host == ALLOWED,
        session_id=7,
    )


class OfferAnswerTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(offers())
    def test_any_offer_is_answered_by_the_rules_or_refused_with_the_reason(
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
        # The first one that can be taken is.
        first = next(n for n, s in enumerate(offer.streams) if s.fault is None)
        self.assertEqual(taken, [first])
        line = read(offer.text).lines[first]
        self.assertEqual(terms.remote, (ALLOWED, line.port))
        self.assertEqual(terms.keys is not None, "SAVP" in line.protocol)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(offers(), st.booleans()), min_size=2, max_size=5))
    def test_a_session_keeps_its_lines_and_its_versions_whoever_offers(
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
            # What we offer can be answered with what we answered, roles reversed.
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

    def test_srtp_beside_rtp_is_taken_where_it_is_required(self) -> None:
        key = f"a=crypto:4 aes_cm_128_hmac_sha1_80 inline:{KEY30}\r\n"
        text = f"{_HEAD}m=audio 4 RTP/AVP 0\r\nm=audio 6 RTP/SAVP 0\r\n{key}"
        terms, answer = descriptions(requires_srtp=True).take_offer(text.encode())
        self.assertEqual(terms.remote, (ALLOWED, 6))
        self.assertIn("a=crypto:4 aes_cm_128_hmac_sha1_80 inline:", answer.decode())
        self.assertEqual(answer_faults(text, answer.decode()), [])
        terms, _ = descriptions().take_offer(text.encode())
        self.assertEqual(terms.remote, (ALLOWED, 4))

    def test_everything_off_is_refused_with_that_reason(self) -> None:
        ours = descriptions()
        with self.assertRaisesRegex(NotAcceptable, r"switched off \(port 0\)\Z"):
            ours.take_offer(f"{_HEAD}m=audio 0 RTP/AVP 0\r\n".encode())
