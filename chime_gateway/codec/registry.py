"""Decodes, encodes and transcodes audio, by codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.codec import g711
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.resample import Resampler
from chime_gateway.codec.stream import Aligner


def _decode_l16(audio: bytes) -> Samples:
    return np.frombuffer(audio, dtype="<i2").astype(np.int16, copy=False)


def _encode_l16(samples: Samples) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


_DECODERS: Final[Mapping[str, Callable[[bytes], Samples]]] = {
    PCMU.name: g711.decode_mu_law,
    PCMA.name: g711.decode_a_law,
}
_ENCODERS: Final[Mapping[str, Callable[[Samples], bytes]]] = {
    PCMU.name: g711.encode_mu_law,
    PCMA.name: g711.encode_a_law,
}


def decode(codec: Codec, audio: bytes) -> Samples:
    """Return samples at C{codec.clock_rate}; C{audio} must hold whole samples."""
    return _DECODERS.get(codec.name, _decode_l16)(audio)


def encode(codec: Codec, samples: Samples) -> bytes:
    """Encode samples; the reverse of L{decode}."""
    return _ENCODERS.get(codec.name, _encode_l16)(samples)


class Transcoder:
    """
    Converts a stream from one codec to another, in chunks of any size.

    It keeps state for the next chunk: the filter's history, and half a sample.
    """

    def __init__(self, source: Codec, target: Codec) -> None:
        self._source = source
        self._target = target
        self._resampler = (
            None
            if source.clock_rate == target.clock_rate
            else Resampler(source.clock_rate, target.clock_rate)
        )
        self._align = Aligner(source.sample_bytes).align

    def transcode(self, audio: bytes) -> bytes:
        samples = decode(self._source, self._align(audio))
        if self._resampler is not None:
            samples = self._resampler.resample(samples)
        return encode(self._target, samples)


def mono(data: bytes, width: int, channels: int) -> Samples:
    """
    Mix all channels of PCM into one.

    @param width: as for L{to_16_bit}.
    """
    samples = to_16_bit(data, width).reshape(-1, channels)
    if channels == 1:
        return samples.ravel()
    mixed: Samples = samples.mean(axis=1).astype(np.int16)
    return mixed


def to_16_bit(data: bytes, width: int) -> Samples:
    """
    Convert the PCM formats of WAV files to 16 bits.

    @param data: whole samples.
    @param width: bytes of a sample, 1 to 4.
    """
    if width == 1:  # the only unsigned format in WAV
        wide = np.frombuffer(data, np.uint8).astype(np.int16)
        return ((wide - 128) * 256).astype(np.int16)
    if width == 2:
        return np.frombuffer(data, "<i2").astype(np.int16)
    # The two most significant bytes.
    highest = np.frombuffer(data, np.uint8).reshape(-1, width)[:, -2:]
    return np.ascontiguousarray(highest).view("<i2").ravel().astype(np.int16)
