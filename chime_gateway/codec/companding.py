"""
The levels of the 256 codes of mu-law and A-law (ITU-T G.711), without numpy: code
that only needs to know which codes are loud, or makes one short sound, need not load
it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

from chime_gateway.audio import PCMA, PCMU

#: The encoder's offset of mu-law, in 16-bit units (ITU-T G.711 section 3.2).
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


#: The sample of 16 bits of each code.
MU_LAW: Final = tuple(map(_mu_law, range(256)))
A_LAW: Final = tuple(map(_a_law, range(256)))

#: By the name of a codec.
LAWS: Final = {PCMU.name: MU_LAW, PCMA.name: A_LAW}


@lru_cache
def _steps(law: Sequence[int]) -> tuple[list[float], bytes]:
    """
    Codes in the order of their samples, and what lies between two of them.

    G.711's decision values lie in the middle between two output values, so the encoder
    follows from the decoder.
    """
    # Mu-law has two zeros.  The sort is stable and leaves 0xFF, the one senders use for
    # silence, behind 0x7F, and what is right of a boundary picks it for sample 0.
    order = sorted(range(256), key=law.__getitem__)
    middles = [(law[one] + law[next_]) / 2 for one, next_ in pairwise(order)]
    return middles, bytes(order)


def compress(law: Sequence[int], samples: Iterable[int]) -> bytes:
    """
    The nearest code of each sample.

    @param law: L{MU_LAW} or L{A_LAW}.
    """
    middles, order = _steps(law)
    return bytes(order[bisect_right(middles, sample)] for sample in samples)
