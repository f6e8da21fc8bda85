from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import CODECS, L16_16000, L16_24000, PCMA, PCMU
from chime_gateway.codec.level import FLOOR_DBFS, level_dbfs
from chime_gateway.codec.registry import decode, encode
from chime_gateway.codec.stream import transcoder


class CodecTests(SynchronousTestCase):
    def test_a_frame_is_twenty_milliseconds(self) -> None:
        sizes = {name: codec.frame_bytes for name, codec in CODECS.items()}
        self.assertEqual(
            sizes,
            {
                "PCMU": 160,
                "PCMA": 160,
                "L16/8000": 320,
                "L16/16000": 640,
                "L16/24000": 960,
            },
        )

    def test_silence_is_silent(self) -> None:
        for name, codec in CODECS.items():
            with self.subTest(name):
                samples = decode(codec, codec.silence(codec.frame_bytes))
                self.assertLess(int(np.abs(samples).max()), 9)

    def test_duration_is_rounded_down(self) -> None:
        self.assertEqual(PCMU.duration_ms(167), 20)
        self.assertEqual(L16_24000.duration_ms(959), 19)


class TranscoderTests(SynchronousTestCase):
    def test_bytes_of_the_same_law_pass_unchanged(self) -> None:
        self.assertIsNone(transcoder(PCMU, PCMU))

    def test_linear_samples_are_not_split(self) -> None:
        align = transcoder(L16_24000, L16_24000)
        assert align is not None
        self.assertEqual([align(b"abc"), align(b"d"), align(b"")], [b"ab", b"cd", b""])

    def test_mu_law_and_a_law_are_converted(self) -> None:
        code = transcoder(PCMU, PCMA)
        assert code is not None
        samples = decode(PCMA, code(encode(PCMU, np.array([0, 8000, -8000], np.int16))))
        self.assertTrue(np.allclose(samples, [0, 8000, -8000], atol=300))

    @given(st.lists(st.integers(0, 99), max_size=10))
    def test_chunks_of_any_size_give_the_same_audio(self, sizes: list[int]) -> None:
        audio = bytes(np.random.default_rng(2).integers(0, 256, sum(sizes), np.uint8))
        whole = transcoder(L16_16000, L16_24000)
        cut = transcoder(L16_16000, L16_24000)
        assert whole is not None and cut is not None
        out, start = b"", 0
        for size in sizes:
            out += cut(audio[start : start + size])
            start += size
        self.assertEqual(out, whole(audio))


class LevelTests(SynchronousTestCase):
    def test_levels_of_known_signals(self) -> None:
        square = np.full(100, 32767, np.int16)
        self.assertApproximates(level_dbfs(square), 0.0, 0.01)
        self.assertApproximates(level_dbfs(square // 10), -20.0, 0.1)
        self.assertEqual(level_dbfs(np.zeros(5, np.int16)), FLOOR_DBFS)
        self.assertEqual(level_dbfs(np.empty(0, np.int16)), FLOOR_DBFS)
