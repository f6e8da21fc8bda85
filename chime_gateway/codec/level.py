"""Measures the level of audio."""

from __future__ import annotations

from math import log10
from typing import Final

import numpy as np

from chime_gateway.codec.g711 import Samples

#: The level that is reported for digital silence.
FLOOR_DBFS: Final = -96.0


def level_dbfs(samples: Samples) -> float:
    """Return the RMS level relative to a full-scale square wave; at least -96 dBFS."""
    if not len(samples):
        return FLOOR_DBFS
    mean_square = float(np.mean(np.square(samples.astype(np.float64))))
    if mean_square == 0:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, 10 * log10(mean_square / 32768**2))
