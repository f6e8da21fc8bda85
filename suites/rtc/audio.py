"""What is said and heard, as 16 bit samples at 8 kHz, and how alike the two are."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy
from attrs import frozen

RATE = 8000
FRAME = RATE // 50

#: Three packets: what is lost of a second leaves some of them whole.
_WINDOW = 3 * FRAME

#: Low enough for half a sample of a resampler's delay to cost little.
_LOWEST_HZ, _HIGHEST_HZ = 300.0, 1200.0

_LOUDNESS = 6000.0

#: A window whose root mean square is below this is silence.
_SOFT = 300.0

#: Two noises are as alike as 0.5 at most in a window, wherever one looks.
ALIKE = 0.75

#: So many windows are missing: what is heard may go on anywhere.
_LOST_TRACK = 16

#: Where the next window is looked for, around where the last one was found.
_DRIFT = RATE

Samples = numpy.ndarray[Any, numpy.dtype[Any]]


def speech(seconds: float, seed: int) -> Samples:
    """
    Noise in the band of a voice, loud and soft as its syllables are.  No part of it
    is like another, and what another seed gives is like none of it.
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
    """At a rate that a browser takes for a microphone's."""
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
    How a recording is like what was said.

    @ivar windows: of 60 ms, that were looked for.
    @ivar found: those that were heard.
    @ivar snr_db: the median of those.
    @ivar lag_ms: of the first one that was found, from the start of the recording.
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
    @return: the greatest normalised correlation, and where in C{whole} that is.
    """
    size = 1 << (len(whole) + len(part)).bit_length()
    product = numpy.fft.rfft(whole, size) * numpy.conj(numpy.fft.rfft(part, size))
    places = len(whole) - len(part) + 1
    dots = numpy.fft.irfft(product, size)[:places]
    sums = numpy.concatenate(([0.0], numpy.cumsum(whole * whole)))
    energy = sums[len(part) :] - sums[: -len(part)]
    scale = numpy.sqrt(numpy.maximum(energy[:places], 1.0) * (part @ part))
    # Where there is next to nothing, nothing is like anything.
    likeness = numpy.where(energy[:places] > len(part) * 100.0, dots / scale, 0.0)
    at = int(numpy.argmax(likeness))
    return float(likeness[at]), at


def compare(said: Samples, heard: Samples, *, start: float = 0.0) -> Likeness:
    """
    @param start: what was said in these first seconds need not have been heard, as
        nobody was there yet.
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
    """Each of the 65,536 samples as a byte of mu-law (ITU-T G.711)."""
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
    """The share of its fiftieths of a second in which something is said."""
    whole = samples[: len(samples) // FRAME * FRAME].astype(float).reshape(-1, FRAME)
    if not len(whole):
        return 0.0
    return float((numpy.sqrt((whole * whole).mean(axis=1)) > _SOFT).mean())
