"""Reads and writes WAV files at the sample rate that a call needs."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from chime_gateway.audio import Codec
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import encode, to_16_bit
from chime_gateway.codec.resample import Resampler
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.private_files import private


def read_wav(path: str) -> tuple[Samples, int]:
    """
    Read mono samples and their rate; several channels are mixed.

    @raise ConfigError: it cannot be read, or is no WAV file of 8 to 32 bit PCM.
    """
    try:
        with wave.open(path, "rb") as file:
            channels, width = file.getnchannels(), file.getsampwidth()
            rate, data = file.getframerate(), file.readframes(file.getnframes())
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (EOFError, wave.Error) as exc:
        why = str(exc) or "the file is truncated"
        raise ConfigError(f"{path}: not a PCM WAV file ({why})") from exc
    if not 1 <= width <= 4:
        raise ConfigError(f"{path}: {width * 8} bit samples are not supported")
    samples = to_16_bit(data[: len(data) - len(data) % width], width)
    if channels > 1:
        whole = len(samples) - len(samples) % channels
        samples = samples[:whole].reshape(-1, channels).mean(axis=1).astype(np.int16)
    return samples, rate


def convert(samples: Samples, rate: int, codec: Codec) -> bytes:
    """Convert a whole recording of any sample rate to bytes of C{codec}."""
    if rate != codec.clock_rate:
        if rate in (8000, 16000, 24000):
            samples = Resampler(rate, codec.clock_rate).resample(samples)
        else:
            samples = _stretch(samples, rate, codec.clock_rate)
    return encode(codec, samples)


def _stretch(samples: Samples, rate: int, to_hz: int) -> Samples:
    """Resample other rates (44.1 kHz, 11.025 kHz) by the spectrum of the whole."""
    count = round(len(samples) * to_hz / rate)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    bins = count // 2 + 1
    kept = np.zeros(bins, dtype=complex)
    shared = min(bins, len(spectrum))
    kept[:shared] = spectrum[:shared]
    out = np.fft.irfft(kept, count) * (count / max(1, len(samples)))
    return np.clip(np.rint(out), -32768, 32767).astype(np.int16)


def write_wav(path: str | Path, rate: int, *channels: Samples) -> None:
    """Write one file with the given channels; shorter ones are padded with silence."""
    length = max(len(channel) for channel in channels)
    frames = np.zeros((length, len(channels)), dtype="<i2")
    for index, channel in enumerate(channels):
        frames[: len(channel), index] = channel
    with open(path, "wb", opener=private) as raw, wave.open(raw, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(frames.tobytes())
