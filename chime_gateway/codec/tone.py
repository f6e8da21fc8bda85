"""Makes sine tones, for callers and for tests."""

from __future__ import annotations

import math
import struct
from functools import cache
from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.companding import LAWS, compress

#: The default amplitude: -12 dBFS.
_AMPLITUDE: Final = 8192

#: The waiting tone: short, and 20 dB below speech.
_WAITING_HZ: Final = 425.0
_WAITING_SECONDS: Final = 0.3
_WAITING_AMPLITUDE: Final = 800


def tone(
    codec: Codec, hz: float, seconds: float, amplitude: float = _AMPLITUDE
) -> bytes:
    """
    Make a tone in C{codec}, with a short fade at both ends.

    @param amplitude: relative to 32768.
    """
    # Without numpy, which may not be loaded yet: loading it takes a quarter of a
    # second, which would delay all calls.
    count = round(codec.clock_rate * seconds)
    edge = min(count // 2, codec.clock_rate // 50)
    step = 2 * math.pi * hz / codec.clock_rate
    last = max(1, edge - 1)
    samples = [
        round(
            amplitude
            * math.sin(step * at)
            * (min(at, count - 1 - at, last) / last if edge else 1.0)
        )
        for at in range(count)
    ]
    law = LAWS.get(codec.name)
    if law is None:
        return struct.pack(f"<{count}h", *samples)
    return compress(law, samples)


@cache
def waiting_tone(codec: Codec) -> bytes:
    """Return the soft tone that shows a waiting caller that the line is alive."""
    return tone(codec, _WAITING_HZ, _WAITING_SECONDS, _WAITING_AMPLITUDE)
