"""
Shortens speech by cutting a little out where it is not heard.

It judges by the sound alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from chime_gateway.audio import Codec
from chime_gateway.codec.level import level_dbfs
from chime_gateway.codec.registry import decode, encode

#: Both sides of a joint are mixed over so much.
_FADE_SECONDS: Final = 0.005

#: What is softer is a pause, of whoever makes it.
_SILENCE_DBFS: Final = -50.0


def is_silence(codec: Codec, audio: bytes) -> bool:
    """Whether nothing is said in it."""
    return level_dbfs(decode(codec, audio)) < _SILENCE_DBFS


def shorten(codec: Codec, audio: bytes, byte_count: int) -> bytes:
    """
    The same without so much, taken out where what comes behind is most like it: a
    period of a voice, or a pause.

    @param audio: longer than C{byte_count} and a fade.
    """
    samples = decode(codec, audio).astype(np.float64)
    count = byte_count // codec.sample_bytes
    fade = int(_FADE_SECONDS * codec.clock_rate)
    difference = np.square(samples[count:] - samples[:-count])
    sums = np.concatenate(([0.0], np.cumsum(difference)))
    at = int(np.argmin(sums[fade:] - sums[:-fade]))
    weight = (np.arange(fade) + 0.5) / fade
    joint = (
        samples[at : at + fade] * (1 - weight)
        + samples[at + count : at + count + fade] * weight
    )
    rest = samples[at + count + fade :]
    shortened = np.concatenate((samples[:at], joint, rest))
    return encode(codec, np.rint(shortened).astype(np.int16))


def join(codec: Codec, before: bytes, after: bytes) -> bytes:
    """C{after}, begun as C{before} would have gone on: both are as long."""
    old = decode(codec, before).astype(np.float64)
    new = decode(codec, after).astype(np.float64)
    fade = min(len(new), int(_FADE_SECONDS * codec.clock_rate))
    weight = (np.arange(fade) + 0.5) / fade
    new[:fade] = old[:fade] * (1 - weight) + new[:fade] * weight
    return encode(codec, np.rint(new).astype(np.int16))
