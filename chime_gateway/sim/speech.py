"""
Encodes text as tones and decodes it: the speech that simulated callers and agents
understand.

A character is two tones, one for its upper and one for its lower four bits.  The two
halves use different sets of sixteen tones, so that a lost tone is detected.  The
encoding survives G.711, resampling and a lost frame.  No other sound on a telephone
line, music and recorded speech included, is mistaken for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from attrs import frozen

from chime_gateway.audio import Codec
from chime_gateway.codec.g711 import Samples
from chime_gateway.codec.registry import decode
from chime_gateway.codec.tone import tone

#: Two frames, so that one may be lost; and the resulting duration of a character.
TONE_SECONDS: Final = 0.04
CHARACTER_SECONDS: Final = 2 * TONE_SECONDS

_LOWEST_HZ: Final = 450.0
_STEP_HZ: Final = 75.0
_TONES: Final = 32

#: The decoder's windows are one frame long and start every half frame.
_WINDOW_SECONDS: Final = 0.02
_HOP_SECONDS: Final = 0.01

#: The size limit of a matrix product; OpenBLAS uses threads above 262,144.
_FEW_PRODUCTS: Final = 250_000

#: After a longer pause the same tone counts as a new one; a lost frame is shorter.
_MOST_HOPS: Final = 6

#: The minimum share of a window's energy in its tone.  In a window that contains half
#: of one tone and half of the next, neither has more than half of the energy.
_PURE: Final = 0.7

#: Quieter than -50 dBFS is silence.
_SILENT_RMS: Final = 100.0

_BEGIN, _END, _GONE = "\x02", "\x03", "\x1a"

#: Characters from here on are checksums, which show whether a sentence is undamaged.
_SUMS: Final = 0x80

#: Replaces a lost character.
LOST: Final = "?"


@frozen
class Sentence:
    """
    One decoded sentence.

    @ivar is_whole: it is complete and undamaged.
    @ivar at_seconds: its start in the audio.
    """

    text: str
    is_whole: bool
    at_seconds: float = 0.0


def _hz(high: bool, half: int) -> float:
    return _LOWEST_HZ + _STEP_HZ * (2 * half + high)


def _checked(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} cannot be spoken: not printable ASCII")
    return chr(_SUMS + sum(text.encode()) % 112)


def spoken(codec: Codec, text: str) -> bytes:
    """
    Encode one sentence as audio.

    @param text: printable ASCII.
    @raise ValueError: it contains other characters.
    """
    whole = _BEGIN + text + _END + _checked(text)
    return b"".join(
        tone(codec, _hz(is_high, half), TONE_SECONDS)
        for character in whole.encode("latin-1")
        for is_high, half in ((True, character >> 4), (False, character & 15))
    )


def seconds_of(text: str) -> float:
    """Return the duration of a spoken text."""
    return (len(text) + 3) * CHARACTER_SECONDS


def heard(codec: Codec, audio: bytes) -> list[Sentence]:
    """
    Decode the sentences in the audio, in order, including cut-off and damaged ones.

    @param audio: speech and silence.
    """
    whole = len(audio) - len(audio) % codec.sample_bytes
    return understood(decode(codec, audio[:whole]), codec.clock_rate)


def understood(samples: Samples, rate: int) -> list[Sentence]:
    """Like L{heard}, for samples."""
    return _sentences(_characters(_halves(samples, rate)))


def words(sentences: Iterable[Sentence]) -> str:
    """Join the texts of the sentences."""
    return " ".join(one.text for one in sentences if one.text)


def _halves(samples: Samples, rate: int) -> list[tuple[bool, int, float]]:
    """Return (is upper half, value, start in seconds) of each tone."""
    size, hop = round(rate * _WINDOW_SECONDS), round(rate * _HOP_SECONDS)
    if len(samples) < size:
        return []
    hertz = _LOWEST_HZ + _STEP_HZ * np.arange(_TONES)
    angles = 2 * np.pi * np.outer(np.arange(size), hertz) / rate
    waves = np.cos(angles), np.sin(angles)
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    found: list[tuple[bool, int, float]] = []
    last, last_at = -1, -_MOST_HOPS
    # In parts that are too small for NumPy's threads, each of which would occupy a
    # processor while waiting for the others.
    count = max(1, _FEW_PRODUCTS // (size * _TONES))
    for start in range(0, len(windows), count):
        part = windows[start : start + count].astype(np.float64)
        energy = np.einsum("ij,ij->i", part, part)
        power = ((part @ waves[0]) ** 2 + (part @ waves[1]) ** 2) * 2 / size
        best = power.argmax(axis=1)
        share = power[np.arange(len(part)), best] / np.maximum(energy, 1.0)
        is_tone = (share > _PURE) & (energy > size * _SILENT_RMS**2)
        for index in np.flatnonzero(is_tone):
            number, at = int(best[index]), start + int(index)
            if number != last or at - last_at > _MOST_HOPS:
                at_seconds = at * _HOP_SECONDS
                found.append((bool(number & 1), number >> 1, at_seconds))
            last, last_at = number, at
    return found


def _characters(
    halves: Sequence[tuple[bool, int, float]],
) -> list[tuple[str, float]]:
    """Join the halves; a half without its counterpart is a lost character."""
    found: list[tuple[str, float]] = []
    upper: tuple[int, float] | None = None
    for is_upper, half, at_seconds in halves:
        if is_upper:
            if upper is not None:
                found.append((_GONE, upper[1]))
            upper = half, at_seconds
        elif upper is None:
            found.append((_GONE, at_seconds))
        else:
            code = upper[0] << 4 | half
            is_known = code in b"\x02\x03" or 32 <= code < 127 or code >= _SUMS
            found.append((chr(code) if is_known else _GONE, upper[1]))
            upper = None
    if upper is not None:
        found.append((_GONE, upper[1]))
    return found


def _sentences(characters: Sequence[tuple[str, float]]) -> list[Sentence]:
    found: list[Sentence] = []
    text, begins, is_begun = "", 0.0, False
    index = 0
    while index < len(characters):
        character, at_seconds = characters[index]
        index += 1
        if character == _BEGIN:
            if text.strip(_GONE):
                found.append(_sentence(text, False, begins))
            text, begins, is_begun = "", at_seconds, True
        elif character == _END:
            # If the checksum was lost, the next character begins another sentence.
            total = characters[index][0] if index < len(characters) else ""
            index += bool(total) and total != _BEGIN
            is_whole = is_begun and _GONE not in text and total == _checked(text)
            found.append(_sentence(text, is_whole, begins))
            text, is_begun = "", False
        elif ord(character) < _SUMS:
            begins = begins if text or is_begun else at_seconds
            text += character
    # Lone tones, which other sounds may contain, are not a sentence.
    if text.strip(_GONE):
        found.append(_sentence(text, False, begins))
    return found


def _sentence(text: str, is_whole: bool, at_seconds: float) -> Sentence:
    return Sentence(text.replace(_GONE, LOST), is_whole, at_seconds)
