"""
The levels of the 256 codes of mu-law and A-law (ITU-T G.711), without numpy.  So code
that only needs the loudness of codes, or makes a short sound, need not load numpy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

from chime_gateway.audio import PCMA, PCMU

#: The offset of the mu-law encoder, in 16-bit units (ITU-T G.711 section 3.2).
_MU_BIAS: Final = 132


def _mu_law(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + _MU_BIAS << ((code & 0x70) >> 4)) - _MU_BIAS
    return -magnitude if code & 0x80 else magnitude


def _a_law(code: int) -> int:
    code ^= 0x55
    segment = (code & 0x70) >> 4
    mantissa = (code & 0x0F) << 4
    magnitude = mantissa + 0x108 << segment - 1 if segment else mantissa + 8
    return magnitude if code & 0x80 else -magnitude


#: The 16-bit sample of each code.
MU_LAW: Final = tuple(map(_mu_law, range(256)))
A_LAW: Final = tuple(map(_a_law, range(256)))

#: The tables by the names of codecs.
LAWS: Final = {PCMU.name: MU_LAW, PCMA.name: A_LAW}


@lru_cache
def _steps(law: Sequence[int]) -> tuple[list[float], bytes]:
    """
    Return the boundaries between codes, and the codes in the order of their samples.

    G.711's decision values lie in the middle between two output values, so the encoder
    follows from the decoder.
    """
    # Mu-law has two zeros.  The stable sort leaves 0xFF, the one that senders use for
    # silence, after 0x7F, so that bisect_right picks it for sample 0.
    order = sorted(range(256), key=law.__getitem__)
    middles = [(law[one] + law[next_]) / 2 for one, next_ in pairwise(order)]
    return middles, bytes(order)


def compress(law: Sequence[int], samples: Iterable[int]) -> bytes:
    """
    Return the nearest code of each sample.

    @param law: L{MU_LAW} or L{A_LAW}.
    """
    middles, order = _steps(law)
    return bytes(order[bisect_right(middles, sample)] for sample in samples)
