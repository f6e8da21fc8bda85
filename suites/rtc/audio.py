"""Sent and received audio, as 16 bit samples at 8 kHz, and its comparison."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy
from attrs import frozen

RATE = 8000
FRAME = RATE // 50

#: Three packets: short enough that some windows survive heavy loss.
_WINDOW = 3 * FRAME

#: So low that a resampler's delay of half a sample has little effect.
_LOWEST_HZ, _HIGHEST_HZ = 300.0, 1200.0

_LOUDNESS = 6000.0

#: A window whose root mean square is below this is silence.
_SOFT = 300.0

#: Two different noises correlate by at most 0.5 in a window, at any offset.
ALIKE = 0.75

#: After this number of missing windows the next one is searched everywhere.
_LOST_TRACK = 16

#: The range around the last window in which the next one is searched.
_DRIFT = RATE

Samples = numpy.ndarray[Any, numpy.dtype[Any]]


def speech(seconds: float, seed: int) -> Samples:
    """
    Make noise in the band of a voice, as loud and soft as syllables.  No part of it is
    like another, or like the noise of another seed.
    """
    rng = numpy.random.default_rng(seed)
    count = round(seconds * RATE)
    spectrum = numpy.fft.rfft(rng.standard_normal(count))
    hertz = numpy.fft.rfftfreq(count, 1.0 / RATE)
    spectrum[(hertz < _LOWEST_HZ) | (hertz > _HIGHEST_HZ)] = 0.0
    noise = numpy.fft.irfft(spectrum, count)
    syllables = 0.6 + 0.4 * numpy.sin(2 * numpy.pi * 4.0 * numpy.arange(count) / RATE)
    made = noise / noise.std() * _LOUDNESS * syllables
    clipped: Samples = numpy.clip(made, -32000, 32000).astype(numpy.int16)
    return clipped


def write_wav(path: Path, samples: Samples, rate: int = 48_000) -> None:
    """Write a WAV file at a rate that a browser accepts from a microphone."""
    factor = rate // RATE
    spectrum = numpy.fft.rfft(samples.astype(float))
    raised = numpy.zeros(len(samples) * factor // 2 + 1, dtype=complex)
    raised[: len(spectrum)] = spectrum
    made = numpy.fft.irfft(raised, len(samples) * factor) * factor
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(numpy.clip(made, -32000, 32000).astype("<i2").tobytes())


@frozen
class Likeness:
    """
    The result of a comparison of received with sent audio.

    @ivar windows: the number of windows of 60 ms that were searched.
    @ivar found: the number of windows found.
    @ivar snr_db: the median signal-to-noise ratio of these.
    @ivar lag_ms: the delay of the first one found.
    """

    windows: int
    found: int
    snr_db: float
    lag_ms: float

    @property
    def share(self) -> float:
        return self.found / self.windows if self.windows else 0.0

    def __str__(self) -> str:
        return f"{self.found} of {self.windows} windows heard, SNR {self.snr_db:.0f} dB"


def _best(part: Samples, whole: Samples) -> tuple[float, int]:
    """
    Find a part in a whole.

    @return: the greatest normalised correlation, and its position in C{whole}.
    """
    size = 1 << (len(whole) + len(part)).bit_length()
    product = numpy.fft.rfft(whole, size) * numpy.conj(numpy.fft.rfft(part, size))
    places = len(whole) - len(part) + 1
    dots = numpy.fft.irfft(product, size)[:places]
    sums = numpy.concatenate(([0.0], numpy.cumsum(whole * whole)))
    energy = sums[len(part) :] - sums[: -len(part)]
    scale = numpy.sqrt(numpy.maximum(energy[:places], 1.0) * (part @ part))
    # Near silence the correlation has no meaning.
    likeness = numpy.where(energy[:places] > len(part) * 100.0, dots / scale, 0.0)
    at = int(numpy.argmax(likeness))
    return float(likeness[at]), at


def compare(said: Samples, heard: Samples, *, start: float = 0.0) -> Likeness:
    """
    Compare received with sent audio.

    @param start: ignore these first seconds, when the other side was not connected yet.
    """
    before = said.astype(float)
    after = heard.astype(float)
    first = round(start * RATE)
    windows = found = missed = 0
    lag: int | None = None
    first_lag = 0.0
    decibels: list[float] = []
    for at in range(first, len(before) - _WINDOW, _WINDOW):
        part = before[at : at + _WINDOW]
        windows += 1
        low, high = 0, len(after)
        if lag is not None:
            low = max(0, at + lag - _DRIFT)
            high = min(len(after), at + lag + _DRIFT + _WINDOW)
        if high - low < _WINDOW:
            continue
        likeness, where = _best(part, after[low:high])
        missed += 1
        if likeness < ALIKE:
            if missed == _LOST_TRACK:
                lag = None
            continue
        missed = 0
        found += 1
        if found == 1:
            first_lag = 1000.0 * (low + where - at) / RATE
        lag = low + where - at
        noise = max(1e-9, 1.0 - likeness * likeness)
        decibels.append(10.0 * numpy.log10(likeness * likeness / noise))
    median = float(numpy.median(decibels)) if decibels else 0.0
    return Likeness(windows, found, median, first_lag)


def _companded() -> Samples:
    """Return the mu-law byte of each of the 65,536 samples (ITU-T G.711)."""
    samples = numpy.arange(-32768, 32768)
    magnitude = numpy.minimum(numpy.abs(samples), 32635) + 132
    exponent = numpy.floor(numpy.log2(magnitude)).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = numpy.where(samples < 0, 0x80, 0)
    coded = ~(sign | (exponent << 4) | mantissa) & 0xFF
    return numpy.array(coded, dtype=numpy.uint8)


def _expanded() -> Samples:
    coded = ~numpy.arange(256) & 0xFF
    magnitude = (((coded & 0x0F) << 3) + 132 << ((coded >> 4) & 7)) - 132
    return numpy.array(numpy.where(coded & 0x80, -magnitude, magnitude), dtype="int16")


_TO_ULAW, _FROM_ULAW = _companded(), _expanded()


def to_ulaw(samples: Samples) -> bytes:
    made: bytes = _TO_ULAW[samples.astype(int) + 32768].tobytes()
    return made


def from_ulaw(coded: bytes) -> Samples:
    samples: Samples = _FROM_ULAW[numpy.frombuffer(coded, dtype=numpy.uint8)]
    return samples


def loud_share(samples: Samples) -> float:
    """Return the share of frames that contain sound."""
    whole = samples[: len(samples) // FRAME * FRAME].astype(float).reshape(-1, FRAME)
    if not len(whole):
        return 0.0
    return float((numpy.sqrt((whole * whole).mean(axis=1)) > _SOFT).mean())
