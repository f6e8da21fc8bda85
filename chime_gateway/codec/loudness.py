"""Detects speech by its loudness: coarse, but cheap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.codec.companding import A_LAW, MU_LAW

#: A 16-bit sample of at least this magnitude is loud.  Telephone speech has peaks ten
#: times as high; line noise is below it.
_LOUD: Final = 768

#: The share of loud samples in speech is larger, although half of it is pauses.
_LOUD_SHARE: Final = 0.05


def _quiet_bytes(law: Sequence[int]) -> bytes:
    """Return the codes whose samples are not loud."""
    return bytes(code for code, sample in enumerate(law) if abs(sample) < _LOUD)


_QUIET: Final[Mapping[str, bytes]] = {
    PCMU.name: _quiet_bytes(MU_LAW),
    PCMA.name: _quiet_bytes(A_LAW),
}
#: High bytes of linear samples that are not loud.
_QUIET_HIGH: Final = bytes(
    high
    for high in range(256)
    if -_LOUD <= (high - 256 if high > 127 else high) * 256 < _LOUD
)


def is_loud(codec: Codec, audio: bytes | bytearray) -> bool:
    """
    Whether audio is loud enough to be speech; called a few times a second for each
    call.

    @param audio: whole samples, of some tenths of a second.
    """
    quiet = _QUIET.get(codec.name)
    if quiet is None:
        audio, quiet = audio[codec.sample_bytes - 1 :: codec.sample_bytes], _QUIET_HIGH
    return len(audio.translate(None, quiet)) > len(audio) * _LOUD_SHARE
