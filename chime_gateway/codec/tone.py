"""A sine, for ears and for tests."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from chime_gateway.audio import Codec
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import encode

#: -12 dBFS.
_AMPLITUDE = 8192

#: The sound of waiting: short, and 20 dB below speech.
_WAITING_HZ: Final = 425.0
_WAITING_SECONDS: Final = 0.3
_WAITING_AMPLITUDE: Final = 800


def tone(
    codec: Codec, hz: float, seconds: float, amplitude: float = _AMPLITUDE
) -> bytes:
    """
    With soft edges, in C{codec}.

    @param amplitude: of 32768.
    """
    count = round(codec.clock_rate * seconds)
    edge = min(count // 2, codec.clock_rate // 50)
    shape = np.ones(count)
    shape[:edge] = np.linspace(0, 1, edge)
    shape[count - edge :] = np.linspace(1, 0, edge)
    wave = np.sin(2 * np.pi * hz * np.arange(count) / codec.clock_rate) * shape
    samples: Samples = np.rint(amplitude * wave).astype(np.int16)
    return encode(codec, samples)


@cache
def waiting_tone(codec: Codec) -> bytes:
    """Soft; it says: the line is alive."""
    return tone(codec, _WAITING_HZ, _WAITING_SECONDS, _WAITING_AMPLITUDE)
