from __future__ import annotations

from pathlib import Path

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import CODECS
from chime_gateway.codec.registry import decode
from chime_gateway.errors import ConfigError
from chime_gateway.sim.caller.compare import correlation
from chime_gateway.sim.caller.wav import convert, read_wav, write_wav
from tests.support.files import temporary_file


class WavTests(SynchronousTestCase):
    def test_a_written_file_is_read_unchanged(self) -> None:
        path = temporary_file(self)
        samples = np.arange(-500, 500).astype(np.int16)
        write_wav(path, 8000, samples)
        read, rate = read_wav(path)
        self.assertEqual(rate, 8000)
        self.assertTrue(np.array_equal(read, samples))

    def test_stereo_is_mixed_and_short_channels_are_padded(self) -> None:
        path = temporary_file(self)
        write_wav(path, 8000, np.full(4, 100, np.int16), np.full(2, 300, np.int16))
        self.assertEqual(read_wav(path)[0].tolist(), [200, 200, 50, 50])

    def test_a_file_that_is_not_wav_is_refused(self) -> None:
        path = temporary_file(self)
        for content in (b"", b"RIFF", b"ID3 this is an mp3" * 10):
            Path(path).write_bytes(content)
            error = self.assertRaises(ConfigError, read_wav, path)
            self.assertRegex(str(error), r"not a PCM WAV file \(.+\)")

    def test_a_missing_file_is_named_as_missing(self) -> None:
        error = self.assertRaises(ConfigError, read_wav, "/nonexistent.wav")
        self.assertEqual(
            str(error), "/nonexistent.wav: cannot be read: No such file or directory"
        )

    def test_any_sample_rate_converts_to_any_codec(self) -> None:
        for rate in (8000, 11025, 16000, 22050, 24000, 44100, 48000):
            time = np.arange(rate // 2) / rate
            samples = np.rint(8000 * np.sin(2 * np.pi * 500 * time)).astype(np.int16)
            for codec in CODECS.values():
                with self.subTest(rate=rate, codec=codec.name):
                    heard = decode(codec, convert(samples, rate, codec))
                    count = codec.clock_rate // 4
                    at = np.arange(count) / codec.clock_rate
                    sine = np.rint(8000 * np.sin(2 * np.pi * 500 * at)).astype(np.int16)
                    self.assertGreater(correlation(sine, heard)[0], 0.99)
