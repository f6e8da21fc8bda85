"""Compares spoken audio with heard audio."""

from __future__ import annotations

import numpy as np

from chime_gateway.codec.g711 import Samples


def correlation(reference: Samples, other: Samples) -> tuple[float, int]:
    """
    Find the best normalised correlation of C{reference} with a section of C{other}.

    @return: from -1 to 1, and the sample of C{other} at which the section begins.
    """
    size = len(reference)
    if not size or len(other) < size:
        return 0.0, 0
    wanted = reference.astype(np.float64)
    heard = other.astype(np.float64)
    length = 1 << (len(heard) + size).bit_length()
    spectrum = np.fft.rfft(heard, length) * np.conj(np.fft.rfft(wanted, length))
    products = np.fft.irfft(spectrum, length)[: len(heard) - size + 1]
    squares = np.concatenate(([0.0], np.cumsum(heard**2)))
    energies = squares[size:] - squares[:-size]
    # The floor keeps rounding errors in silence from correlating.
    floor = max(1.0, 1e-6 * float(energies.max(initial=0.0)))
    scores = products / np.sqrt(np.maximum(energies, floor) * max(1.0, wanted @ wanted))
    at = int(np.argmax(scores))
    return float(scores[at]), at


def piecewise_correlation(
    reference: Samples, other: Samples, window: int
) -> tuple[float, float]:
    """
    Correlate piece by piece, for speech that is played with inserted pauses.

    @param window: the number of samples of a piece.
    @return: the median and the minimum over the pieces that are not silent.
    """
    pieces = [
        reference[at : at + window]
        for at in range(0, len(reference) - window + 1, window)
    ]
    loudest = max(
        (float(np.mean(np.square(p, dtype=float))) for p in pieces), default=0
    )
    spoken = [p for p in pieces if np.mean(np.square(p, dtype=float)) > loudest / 50]
    scores = sorted(correlation(piece, other)[0] for piece in spoken)
    return (scores[len(scores) // 2], scores[0]) if scores else (0.0, 0.0)
