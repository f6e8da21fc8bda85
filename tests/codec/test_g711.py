from __future__ import annotations

from collections.abc import Callable

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.codec.g711 import (
    Samples,
    decode_a_law,
    decode_mu_law,
    encode_a_law,
    encode_mu_law,
)

LAWS: tuple[tuple[str, Callable[[Samples], bytes], Callable[[bytes], Samples]], ...] = (
    ("mu-law", encode_mu_law, decode_mu_law),
    ("A-law", encode_a_law, decode_a_law),
)
EVERY_CODE = bytes(range(256))


def snr_db(signal: Samples, copy: Samples) -> float:
    wanted = signal.astype(np.float64)
    error = wanted - copy
    return float(10 * np.log10((wanted @ wanted) / (error @ error)))


class G711Tests(SynchronousTestCase):
    def test_decoded_values_are_those_of_the_recommendation(self) -> None:
        # ITU-T G.711 tables 1a to 2b: decoder outputs, in 16-bit units.
        self.assertEqual(
            decode_mu_law(b"\x80\xff\x7f\x00\xf0").tolist(), [32124, 0, 0, -32124, 120]
        )
        self.assertEqual(
            decode_a_law(b"\xaa\xd5\x55\x2a\x80").tolist(),
            [32256, 8, -8, -32256, 5504],
        )

    def test_every_code_survives_the_round_trip(self) -> None:
        for name, encode, decode in LAWS:
            with self.subTest(name):
                codes = encode(decode(EVERY_CODE))
                # Mu-law has two zeros; the negative one becomes the positive.
                expected = EVERY_CODE
                if name == "mu-law":
                    expected = EVERY_CODE.replace(b"\x7f", b"\xff")
                self.assertEqual(codes, expected)

    def test_a_tone_keeps_the_snr_of_eight_bits(self) -> None:
        time = np.arange(8000) / 8000
        for level in (0.9, 0.3, 0.1, 0.03):
            tone = (32767 * level * np.sin(2 * np.pi * 1004 * time)).astype(np.int16)
            for name, encode, decode in LAWS:
                with self.subTest(name, level=level):
                    # ITU-T G.712 asks for 33 dB over this range of a channel.
                    self.assertGreater(snr_db(tone, decode(encode(tone))), 35.0)

    def test_no_sample_is_further_from_its_code_than_half_a_step(self) -> None:
        samples = np.arange(-32768, 32768).astype(np.int16)
        for name, encode, decode in LAWS:
            with self.subTest(name):
                levels = np.unique(decode(EVERY_CODE).astype(np.int64))
                copy = decode(encode(samples)).astype(np.int64)
                nearest = np.min(np.abs(samples[:, None] - levels[None, :]), axis=1)
                self.assertTrue(np.array_equal(np.abs(samples - copy), nearest))

    def test_polarity_is_kept(self) -> None:
        for name, encode, decode in LAWS:
            with self.subTest(name):
                loud = np.array([20000, -20000], dtype=np.int16)
                copy = decode(encode(loud))
                self.assertGreater(int(copy[0]), 0)
                self.assertLess(int(copy[1]), 0)
