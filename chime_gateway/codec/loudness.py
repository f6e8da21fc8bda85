"""Tells from loudness whether somebody speaks: coarse, and cheap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.codec.companding import A_LAW, MU_LAW

#: A sample of 16 bits that is as far from zero is loud.  Speech on the telephone has
#: peaks ten times as high, the noise of a line none.
_LOUD: Final = 768

#: In speech, of which half is pauses between sounds, more samples are.
_LOUD_SHARE: Final = 0.05


def _quiet_bytes(law: Sequence[int]) -> bytes:
    """Those of 256 bytes that stand for samples that are not loud."""
    return bytes(code for code, sample in enumerate(law) if abs(sample) < _LOUD)


_QUIET: Final[Mapping[str, bytes]] = {
    PCMU.name: _quiet_bytes(MU_LAW),
    PCMA.name: _quiet_bytes(A_LAW),
}
#: Of the high byte of a sample; it stands for 256 of them.
_QUIET_HIGH: Final = bytes(
    high
    for high in range(256)
    if -_LOUD <= (high - 256 if high > 127 else high) * 256 < _LOUD
)


def is_loud(codec: Codec, audio: bytes | bytearray) -> bool:
    """
    Called some times a second for each call.

    @param audio: whole samples, some tenths of a second of them.
    """
    quiet = _QUIET.get(codec.name)
    if quiet is None:
        audio, quiet = audio[codec.sample_bytes - 1 :: codec.sample_bytes], _QUIET_HIGH
    return len(audio.translate(None, quiet)) > len(audio) * _LOUD_SHARE
