"""
Converts G.711, mu-law and A-law, to linear 16-bit samples and back, by table.

The tables are built from the segments of ITU-T G.711 when the module is imported: 256
entries to decode, 65,536 to encode.  So a frame costs one numpy look-up.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chime_gateway.codec.companding import A_LAW, MU_LAW

Samples: TypeAlias = NDArray[np.int16]


def _encode_table(decode: Samples) -> NDArray[np.uint8]:
    """
    Return the nearest code for each 16-bit sample; the index is the unsigned sample.

    G.711's decision values lie in the middle between two output values, so the encoder
    follows from the decoder.
    """
    # Mu-law has two zeros.  The stable sort leaves 0xFF, the one that senders use for
    # silence, after 0x7F, and side="right" then picks it for sample 0.
    order = np.argsort(decode, kind="stable").astype(np.uint8)
    levels = decode[order].astype(np.float64)
    boundaries = (levels[1:] + levels[:-1]) / 2
    samples = np.arange(65536, dtype=np.uint16).view(np.int16)
    return order[np.searchsorted(boundaries, samples, side="right")]


_MU_DECODE: Final = np.array(MU_LAW, np.int16)
_MU_ENCODE: Final = _encode_table(_MU_DECODE)
_A_DECODE: Final = np.array(A_LAW, np.int16)
_A_ENCODE: Final = _encode_table(_A_DECODE)


def decode_mu_law(audio: bytes) -> Samples:
    """Return one 16-bit sample for each byte."""
    return _MU_DECODE[np.frombuffer(audio, dtype=np.uint8)]


def encode_mu_law(samples: Samples) -> bytes:
    """Return one byte for each 16-bit sample."""
    return _MU_ENCODE[samples.view(np.uint16)].tobytes()


def decode_a_law(audio: bytes) -> Samples:
    """Return one 16-bit sample for each byte."""
    return _A_DECODE[np.frombuffer(audio, dtype=np.uint8)]


def encode_a_law(samples: Samples) -> bytes:
    """Return one byte for each 16-bit sample."""
    return _A_ENCODE[samples.view(np.uint16)].tobytes()
