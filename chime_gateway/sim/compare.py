"""How alike are what was said and what was heard?"""

from __future__ import annotations

import numpy as np

from chime_gateway.codec.g711 import Samples


def correlation(reference: Samples, other: Samples) -> tuple[float, int]:
    """
    The best normalised correlation of C{reference} with a stretch of C{other}.

    @return: from -1 to 1, and the sample in C{other} where that stretch begins.
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
    # Silence correlates with nothing, whatever rounding leaves of it.
    floor = max(1.0, 1e-6 * float(energies.max(initial=0.0)))
    scores = products / np.sqrt(np.maximum(energies, floor) * max(1.0, wanted @ wanted))
    at = int(np.argmax(scores))
    return float(scores[at]), at
