"""Concealment resembles the lost frame."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import PCMA, PCMU
from chime_gateway.codec.conceal import Concealment
from chime_gateway.codec.registry import decode, encode


class ConcealmentTests(SynchronousTestCase):
    def voice(self, hz: float, samples: int) -> np.ndarray:
        t = np.arange(samples) / 8000
        wave = np.zeros(samples)
        for n in range(1, 6):
            wave += np.sin(2 * np.pi * hz * n * t) / n
        return (wave * 8000).astype(np.int16)

    def test_a_steady_voice_continues_with_its_pitch(self) -> None:
        for codec in (PCMU, PCMA):
            for hz in (80, 125, 210, 330):
                voice = self.voice(hz, 1600)
                concealment = Concealment(codec)
                for at in range(0, 640, 160):
                    concealment.heard(encode(codec, voice[at : at + 160]))
                made = decode(codec, concealment.conceal(80)).astype(float)
                lost = voice[640:720].astype(float)
                score = (made @ lost) / np.sqrt((made @ made) * (lost @ lost))
                self.assertGreater(score, 0.9, f"{codec.name} {hz} Hz")

    def test_it_fades_to_silence_within_60_ms_and_starts_anew(self) -> None:
        concealment = Concealment(PCMU)
        concealment.heard(encode(PCMU, self.voice(125, 400)))
        levels = [
            np.abs(decode(PCMU, concealment.conceal(160)).astype(float)).max()
            for _ in range(4)
        ]
        self.assertGreater(levels[0], 3 * levels[2])
        self.assertEqual(levels[3], 0)
        concealment.heard(encode(PCMU, self.voice(125, 160)))
        again = np.abs(decode(PCMU, concealment.conceal(160)).astype(float)).max()
        self.assertGreater(again, 5000)

    def test_before_any_audio_it_is_silence(self) -> None:
        self.assertEqual(Concealment(PCMA).conceal(160), b"\xd5" * 160)
        early = Concealment(PCMU)
        early.heard(b"\x10" * 40)
        self.assertEqual(len(early.conceal(160)), 160)
