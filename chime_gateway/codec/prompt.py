"""A sound of the gateway's own in the codec of a leg, made once for all calls."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import encode
from chime_gateway.codec.resample import Resampler
from chime_gateway.settings.sound import Sound

#: As many as there may be of profiles' sounds and codecs together; the others are made
#: again.
_MOST_PROMPTS = 64


@lru_cache(_MOST_PROMPTS)
def prompt(sound: Sound, codec: Codec) -> bytes:
    """The whole of it."""
    samples = _mono(sound)
    if sound.rate != codec.clock_rate:
        samples = Resampler(sound.rate, codec.clock_rate).resample(samples)
    return encode(codec, samples)


def prepare(sounds: Iterable[Sound]) -> None:
    """
    Make those now that telephones want.  A long one with many samples takes 200 ms, for
    which no call should stand still.
    """
    for sound in sounds:
        for codec in (PCMU, PCMA):
            prompt(sound, codec)


def _mono(sound: Sound) -> Samples:
    samples = to_16_bit(sound.data, sound.width).reshape(-1, sound.channels)
    if sound.channels == 1:
        return samples.ravel()
    mixed: Samples = samples.mean(axis=1).astype(np.int16)
    return mixed


def to_16_bit(data: bytes, width: int) -> Samples:
    """
    PCM as WAV files have it.

    @param data: whole samples.
    @param width: bytes of one: 1 to 4.
    """
    if width == 1:  # unsigned, the only one in WAV
        wide = np.frombuffer(data, np.uint8).astype(np.int16)
        return ((wide - 128) * 256).astype(np.int16)
    if width == 2:
        return np.frombuffer(data, "<i2").astype(np.int16)
    # The two bytes that count most.
    highest = np.frombuffer(data, np.uint8).reshape(-1, width)[:, -2:]
    return np.ascontiguousarray(highest).view("<i2").ravel().astype(np.int16)
