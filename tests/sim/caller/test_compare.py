from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.caller.compare import correlation


class CompareTests(SynchronousTestCase):
    def test_a_section_is_found_at_its_position(self) -> None:
        noise = np.random.default_rng(3).integers(-5000, 5000, 4000).astype(np.int16)
        silence = np.zeros(1234, np.int16)
        score, at = correlation(noise, np.concatenate([silence, noise, silence]))
        self.assertApproximates(score, 1.0, 1e-6)
        self.assertEqual(at, 1234)

    def test_other_audio_is_not_found(self) -> None:
        chance = np.random.default_rng(4)
        a, b = (chance.integers(-5000, 5000, n).astype(np.int16) for n in (4000, 9000))
        self.assertLess(correlation(a, b)[0], 0.2)
        self.assertEqual(correlation(a, np.zeros(9000, np.int16))[0], 0.0)
        self.assertEqual(correlation(a, a[:10]), (0.0, 0))
