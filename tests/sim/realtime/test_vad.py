from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMU
from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone
from chime_gateway.sim.caller.wav import convert
from chime_gateway.sim.realtime.vad import EnergyVad, SpeechEdge


class VadTests(SynchronousTestCase):
    def test_edges_are_at_the_positions_of_the_sound(self) -> None:
        audio = PCMU.silence(4000) + tone(PCMU, 600, 1.0) + PCMU.silence(8000)
        for size in (160, 77, len(audio)):
            with self.subTest(size=size):
                vad = EnergyVad(PCMU, 0.5, 500)
                edges = []
                for start in range(0, len(audio), size):
                    edges += vad.feed(audio[start : start + size])
                self.assertEqual([e.is_start for e in edges], [True, False])
                self.assertApproximates(edges[0].at_ms, 500, 20)
                self.assertApproximates(edges[1].at_ms, 2000, 20)

    def test_a_click_is_not_speech(self) -> None:
        vad = EnergyVad(PCMU, 0.5, 500)
        audio = PCMU.silence(1600) + tone(PCMU, 600, 0.03) + PCMU.silence(8000)
        self.assertEqual(vad.feed(audio), [])

    def test_a_pause_within_speech_does_not_end_it(self) -> None:
        vad = EnergyVad(PCMU, 0.5, 500)
        audio = (tone(PCMU, 600, 0.5) + PCMU.silence(3200)) * 3
        self.assertEqual(vad.feed(audio), [SpeechEdge(True, 0)])

    def test_a_higher_threshold_is_less_sensitive(self) -> None:
        quiet = np.rint(decode(PCMU, tone(PCMU, 600, 1.0)) * 0.02).astype(np.int16)
        audio = convert(quiet, 8000, PCMU)
        self.assertEqual(len(EnergyVad(PCMU, 0.2, 500).feed(audio)), 1)
        self.assertEqual(EnergyVad(PCMU, 0.9, 500).feed(audio), [])
