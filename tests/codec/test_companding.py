"""G.711 without numpy, compared with G.711 with numpy."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.codec.companding import LAWS, compress
from chime_gateway.codec.registry import decode, encode


class CompandingTests(SynchronousTestCase):
    def test_every_sample_gets_the_same_code_as_with_numpy(self) -> None:
        samples = np.arange(-32768, 32768).astype(np.int16)
        for codec in (PCMU, PCMA):
            made = compress(LAWS[codec.name], samples.tolist())
            self.assertEqual(made, encode(codec, samples), codec.name)

    def test_codes_have_the_values_of_the_standard(self) -> None:
        # ITU-T G.711, tables 2a and 1a: the largest, the smallest, and some others.
        for name, code, sample in (
            ("PCMU", 0x80, 32124),
            ("PCMU", 0x00, -32124),
            ("PCMU", 0xFF, 0),
            ("PCMU", 0xEF, 132),
            ("PCMA", 0xAA, 32256),
            ("PCMA", 0x2A, -32256),
            ("PCMA", 0xD5, 8),
            ("PCMA", 0x55, -8),
        ):
            self.assertEqual(LAWS[name][code], sample, f"{name} {code:#x}")

    def test_decoded_samples_are_the_same_as_with_numpy(self) -> None:
        for codec in (PCMU, PCMA):
            samples = decode(codec, bytes(range(256)))
            self.assertEqual(list(LAWS[codec.name]), samples.tolist())
