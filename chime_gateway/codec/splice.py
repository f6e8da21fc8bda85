"""
Shortens speech by cutting out a little where it is not noticed.

It works on the sound alone, and without numpy: it is needed when audio is late already,
and loading numpy takes a quarter of a second.  For a few frames it takes some tens of
microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from operator import mul, sub
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.companding import LAWS, compress

#: Length of the cross-fade at a joint.
_FADE_SECONDS: Final = 0.005

#: Softer audio is a pause: the mean square at -50 dBFS.
_SILENCE_SQUARE: Final = 32768.0**2 * 1e-5


def _decode(codec: Codec, audio: bytes) -> Sequence[int]:
    law = LAWS.get(codec.name)
    if law is None:
        return struct.unpack(f"<{len(audio) // codec.sample_bytes}h", audio)
    return [law[code] for code in audio]


def _mix(codec: Codec, before: Sequence[int], after: Sequence[int]) -> bytes:
    """Cross-fade from one to the other; both have the same length."""
    step = 1 / len(after)
    samples = [
        round(old + (new - old) * (at + 0.5) * step)
        for at, (old, new) in enumerate(zip(before, after, strict=True))
    ]
    law = LAWS.get(codec.name)
    if law is None:
        return struct.pack(f"<{len(samples)}h", *samples)
    return compress(law, samples)


def is_silence(codec: Codec, audio: bytes) -> bool:
    """Whether audio contains no speech."""
    samples = _decode(codec, audio)
    total: int = sum(map(mul, samples, samples))
    return total <= _SILENCE_SQUARE * len(samples)


def shorten(codec: Codec, audio: bytes, byte_count: int) -> bytes:
    """
    Cut out C{byte_count} bytes, at the place where the audio after the cut is most
    similar: within a periodic voice, or a pause.

    @param audio: longer than C{byte_count} and a cross-fade together.
    """
    size = codec.sample_bytes
    samples = _decode(codec, audio)
    count = byte_count // size
    fade = int(_FADE_SECONDS * codec.clock_rate)
    difference = list(map(sub, samples[count:], samples))
    sums = [0, *accumulate(map(mul, difference, difference))]
    unlike = list(map(sub, sums[fade:], sums))
    at = unlike.index(min(unlike))
    behind = at + count
    joint = _mix(codec, samples[at : at + fade], samples[behind : behind + fade])
    return audio[: at * size] + joint + audio[(behind + fade) * size :]


def join(codec: Codec, before: bytes, after: bytes) -> bytes:
    """
    Cross-fade into C{after} from C{before}, the continuation of the earlier audio; both
    have the same length.
    """
    size = codec.sample_bytes
    fade = min(len(after), int(_FADE_SECONDS * codec.clock_rate) * size)
    joint = _mix(codec, _decode(codec, before[:fade]), _decode(codec, after[:fade]))
    return joint + after[fade:]
