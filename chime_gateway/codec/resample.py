"""
Changes the sample rate of a stream, chunk by chunk, with little delay.

It is a short linear-phase FIR in polyphase form, designed for the ratios between 8, 16
and 24 kHz.  Streaming resamplers for music delay by 20 to 160 ms; this one stays below
3 ms in each direction.  Its output does not depend on how the stream is split into
chunks.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Final, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Taps: TypeAlias = NDArray[np.float32]

#: Attenuation of all frequencies that could cause aliases.
STOP_BAND_DB: Final = 60.0

#: Band edges as a share of the lower of the two rates.  Telephone speech ends at
#: 3.4 kHz of 8; frequencies below the stop edge are aliased only to above that.
_PASS_EDGE: Final = 0.425
_STOP_EDGE: Final = 0.54


@lru_cache
def _polyphase(up: int, down: int) -> Taps:
    """
    Design a Kaiser-windowed low-pass, one row for each phase, newest sample last.

    Kaiser's formulas for length and beta: Oppenheim and Schafer, Discrete-Time
    Signal Processing, section 7.5.3.
    """
    # The filter runs at the common multiple of both rates: the lower one times this.
    multiple = max(up, down)
    width = 2 * np.pi * (_STOP_EDGE - _PASS_EDGE) / multiple
    length = int(np.ceil((STOP_BAND_DB - 7.95) / (2.285 * width))) | 1
    beta = 0.1102 * (STOP_BAND_DB - 8.7)
    middle = (length - 1) // 2
    cutoff = (_PASS_EDGE + _STOP_EDGE) / multiple
    taps = np.sinc(cutoff * (np.arange(length) - middle)) * np.kaiser(length, beta)
    columns = -(-length // up)
    padded = np.zeros(columns * up)
    padded[:length] = taps
    rows = padded.reshape(columns, up).T
    # Each phase must sum to one, or a constant signal would get a ripple.
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(rows[:, ::-1], dtype=np.float32)


class Resampler:
    """
    Resamples one stream of 16-bit samples.

    @ivar delay_seconds: delay of the output.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        divisor = gcd(from_hz, to_hz)
        self._up = to_hz // divisor
        self._down = from_hz // divisor
        self._phases = _polyphase(self._up, self._down)
        columns = self._phases.shape[1]
        self.delay_seconds = columns / 2 / from_hz
        self._history = np.zeros(columns - 1, dtype=np.float32)
        self._next = 0  # position of the next output, in units of from_hz * up

    def resample(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return all samples that the input so far determines."""
        if not len(samples):
            return np.empty(0, dtype=np.int16)
        stream = np.concatenate((self._history, samples.astype(np.float32)))
        # All windows of the filter's length, without copying.
        windows = as_strided(
            stream, (len(samples), self._phases.shape[1]), stream.strides * 2
        )
        end = len(samples) * self._up
        positions = np.arange(self._next, end, self._down)
        rows, phases = np.divmod(positions, self._up)
        if self._down == 1:
            out = (windows @ self._phases.T).ravel()
        elif self._up == 1:
            out = windows[rows] @ self._phases[0]
        else:
            out = np.einsum("ij,ij->i", windows[rows], self._phases[phases])
        self._next += len(positions) * self._down - end
        self._history = stream[len(samples) :]
        np.rint(out, out)
        return np.clip(out, -32768, 32767, out).astype(np.int16)
