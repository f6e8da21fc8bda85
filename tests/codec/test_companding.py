"""G.711 without numpy, against G.711 with it."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.codec.companding import LAWS, compress
from chime_gateway.codec.registry import decode, encode


class CompandingTests(SynchronousTestCase):
    def test_every_sample_becomes_the_code_that_a_frame_of_it_would(self) -> None:
        samples = np.arange(-32768, 32768).astype(np.int16)
        for codec in (PCMU, PCMA):
            made = compress(LAWS[codec.name], samples.tolist())
            self.assertEqual(made, encode(codec, samples), codec.name)

    def test_every_code_stands_for_what_is_in_the_standard(self) -> None:
        # ITU-T G.711, tables 2a and 1a: the largest, the smallest, and some between.
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

    def test_no_sample_comes_out_as_another(self) -> None:
        for codec in (PCMU, PCMA):
            samples = decode(codec, bytes(range(256)))
            self.assertEqual(list(LAWS[codec.name]), samples.tolist())
