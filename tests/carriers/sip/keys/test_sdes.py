"""Keys in session descriptions, and the resulting keys of SRTP."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.carriers.sip.keys.sdes import (
    PROFILES,
    new_crypto,
    offer_crypto,
    srtp_keys,
)
from chime_gateway.wire.sdp.sdes import SUITES, Crypto


class SdesTests(SynchronousTestCase):
    def test_every_known_suite_has_a_profile_of_its_size(self) -> None:
        sizes = {suite: profile.key_bytes for suite, profile in PROFILES.items()}
        self.assertEqual(sizes, dict(SUITES))

    def test_the_name_of_a_suite_matches_its_tag(self) -> None:
        for suite, profile in PROFILES.items():
            bits = int(suite.rpartition("_")[2])
            self.assertEqual(profile.tag_bytes * 8, bits)

    def test_an_answer_keeps_suite_and_tag_and_has_a_new_key(self) -> None:
        for suite, size in SUITES.items():
            offered = Crypto(7, suite, bytes(size))
            ours = new_crypto(offered)
            self.assertEqual((ours.tag, ours.suite), (7, suite))
            self.assertEqual(len(ours.key), size)
            self.assertNotEqual(ours.key, offered.key)

    def test_each_side_encrypts_with_its_own_key(self) -> None:
        ours = offer_crypto()
        theirs = new_crypto(ours)
        keys = srtp_keys(ours, theirs)
        self.assertEqual((keys.local, keys.remote), (ours.key, theirs.key))
        self.assertNotIn(repr(ours.key), repr(keys))
