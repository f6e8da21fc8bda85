from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_24000, PCMA, PCMU
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone
from chime_gateway.sim.caller.wav import convert
from chime_gateway.sim.speech import Sentence, heard, spoken, understood

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)

QUIET = PCMU.silence(8000)


def texts(sentences: list[Sentence]) -> list[tuple[str, bool]]:
    return [(one.text, one.is_whole) for one in sentences]


class SpeechTests(SynchronousTestCase):
    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(PRINTABLE, max_size=3),
        st.sampled_from([PCMU, PCMA, L16_24000]),
        st.sampled_from([PCMU, PCMA, L16_24000]),
        st.integers(0, 500),
    )
    def test_speech_is_decoded_through_any_codec_at_any_offset(
        self, said: list[str], says: object, hears: object, late: int
    ) -> None:
        audio = says.silence(says.sample_bytes * late)  # type: ignore[attr-defined]
        for text in said:
            audio += spoken(says, text)  # type: ignore[arg-type]
        samples = decode(says, audio)  # type: ignore[arg-type]
        there = convert(samples, says.clock_rate, hears)  # type: ignore[attr-defined, arg-type]
        self.assertEqual(
            texts(heard(hears, there)),  # type: ignore[arg-type]
            [(text, True) for text in said],
        )

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_a_lost_frame_every_half_second_does_no_damage(
        self, data: st.DataObject
    ) -> None:
        text = "My number is 4711."
        audio = bytearray(spoken(PCMU, text))
        for start in range(0, len(audio) - 4000, 4000):
            at = start + 160 * data.draw(st.integers(0, 20))
            audio[at : at + 160] = PCMU.silence(160)
        self.assertEqual(texts(heard(PCMU, bytes(audio))), [(text, True)])

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 22), st.integers(1, 22))
    def test_a_cut_sentence_is_never_reported_as_whole(
        self, start: int, many: int
    ) -> None:
        text = "Part 1 of 9 is here."
        frames = round(0.08 * 8000)
        audio = spoken(PCMU, text)
        cut = audio[start * frames : (start + many) * frames]
        (found,) = heard(PCMU, QUIET + cut + QUIET) or [Sentence("", False)]
        self.assertEqual(found.is_whole, len(cut) == len(audio))
        self.assertIn(found.text, text)

    def test_the_start_of_a_sentence_is_found_after_a_cut_one(self) -> None:
        text = "Part 2 of 9."
        for halves in range(1, 8):
            cut = spoken(PCMU, text)[: 320 * halves]
            audio = cut + QUIET + spoken(PCMU, text)
            found = heard(PCMU, audio)[-1]
            self.assertTrue(found.is_whole)
            self.assertAlmostEqual(found.at_seconds, (len(cut) + 8000) / 8000, 1)

    def test_other_sounds_are_not_decoded(self) -> None:
        rng = np.random.default_rng(1)
        noise: Samples = rng.normal(0, 3000, 16000).astype(np.int16)
        chord = sum(
            decode(PCMU, tone(PCMU, hz, 1.0)).astype(np.int32) // 3
            for hz in (440.0, 554.0, 659.0)
        )
        for what in (noise, np.asarray(chord, dtype=np.int16), decode(PCMU, QUIET)):
            found = understood(what, 8000)
            self.assertFalse([one for one in found if one.is_whole])

    def test_unsupported_characters_are_refused(self) -> None:
        for text in ("gr\u00fcn", "two\nlines", "\x03"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                spoken(PCMU, text)
