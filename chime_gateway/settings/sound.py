"""
The gateway's own sounds, read from WAV files: what callers hear while they wait, and
the apology when no agent can be reached.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from chime_gateway.errors import ConfigError
from chime_gateway.settings.convert import structure

#: A generated sound, without a file.
TONE: Final = "tone"

#: The apology that comes with the package.
SPOKEN: Final = "spoken"

#: A value that ends like this names a file.
_SUFFIX: Final = ".wav"

#: An apology is played to its end before anything else happens to the call, even for
#: callers that a full gateway refuses.
MOST_APOLOGY_SECONDS: Final = 15.0

#: The agent's audio waits for the end of a filler.
MOST_FILLER_SECONDS: Final = 5.0

#: A little more than the longest sound with two channels of 48 kHz and 32 bits.
_MOST_BYTES: Final = 8_000_000

#: Resampling from other rates would take too long.
_RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_MOST_CHANNELS: Final = 2

#: docs/reference/tools.md says how they were made.
_SHIPPED: Final = Path(__file__).parent / "spoken"
_GOODBYE: Final = _SHIPPED / "apology.wav"
_HOLD: Final = _SHIPPED / "apology-hold.wav"


@frozen
class Sound:
    """
    The content of a WAV file.

    @ivar name: the file's name.
    @ivar rate: samples per second, in each of C{channels}.
    @ivar width: bytes per sample, PCM as in a WAV file.
    @ivar data: whole samples, the channels interleaved.
    """

    name: str
    rate: int
    channels: int
    width: int
    data: bytes = field(repr=False)

    @property
    def seconds(self) -> float:
        return len(self.data) / (self.rate * self.channels * self.width)


#: Reads a file beside the configuration: its name, its key and its maximum seconds.
ReadSound: TypeAlias = Callable[[str, str, float], Sound]


def read_sound(path: Path, where: str, most_seconds: float) -> Sound:
    """
    Read a WAV file.

    @param where: the key, for the error.
    @raise ConfigError: it is missing, not a WAV file, not PCM, empty or too long.
    """
    try:
        # A pipe could block forever.
        if not path.is_file():
            raise ConfigError(f"{where}: there is no file {path}")
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(
                f"{where}: {path} is larger than {_MOST_BYTES // 1_000_000} MB"
            )
        with wave.open(str(path), "rb") as file:
            channels, width = file.getnchannels(), file.getsampwidth()
            rate, data = file.getframerate(), file.readframes(file.getnframes())
    # RuntimeError: a chunk claims to be longer than the file.
    except (OSError, EOFError, RuntimeError, wave.Error) as exc:
        why = str(exc) or "it ends too early"
        raise ConfigError(
            f"{where}: {path} is not a WAV file with PCM audio ({why})"
        ) from exc
    if not 1 <= channels <= _MOST_CHANNELS or not 1 <= width <= 4:
        raise ConfigError(
            f"{where}: {path} has {channels} channels of {8 * width} bits; allowed are"
            f" 1 or {_MOST_CHANNELS} channels of 8 to 32 bits"
        )
    if rate not in _RATES:
        raise ConfigError(
            f"{where}: {path} has {rate} samples per second; allowed are"
            f" {', '.join(map(str, _RATES))}"
        )
    # The last samples of a truncated file may be incomplete.
    whole = len(data) - len(data) % (channels * width)
    sound = Sound(path.name, rate, channels, width, data[:whole])
    if not sound.data:
        raise ConfigError(f"{where}: {path} has no audio in it")
    if sound.seconds > most_seconds:
        raise ConfigError(
            f"{where}: {path} lasts {sound.seconds:.1f} s; allowed are"
            f" {most_seconds:g} s at most"
        )
    return sound


def read_sounds(rest: dict[str, object], where: str, read: ReadSound) -> dict[str, Any]:
    """
    Read the sounds that C{filler} and C{apology} of a profile's table name.  Return
    C{filler_sound} and C{apology_sound}, each a L{Sound} or C{None}.

    @raise ConfigError: one cannot be played.
    """
    found: dict[str, Any] = {"filler_sound": None, "apology_sound": None}
    for key in found:
        if key in rest:
            raise ConfigError(f"{where}: unknown key {key}")
    filler = structure(rest.get("filler", ""), str, f"{where}.filler")
    if _is_file(filler):
        found["filler_sound"] = read(filler, f"{where}.filler", MOST_FILLER_SECONDS)
    at = f"{where}.apology"
    apology = structure(rest.setdefault("apology", SPOKEN), str, at)
    if apology == SPOKEN:
        # With a fallback target, the apology says that the caller will be connected.
        found["apology_sound"] = _shipped(_HOLD if rest.get("fallback") else _GOODBYE)
    elif _is_file(apology):
        found["apology_sound"] = read(apology, at, MOST_APOLOGY_SECONDS)
    elif apology not in ("", TONE):
        raise ConfigError(
            f'{at}: expected a WAV file, "{SPOKEN}", "{TONE}", or "" for none, got'
            f" {apology[:40]!r}"
        )
    return found


@lru_cache
def _shipped(path: Path) -> Sound:
    """Read a shipped sound once, for all profiles."""
    return read_sound(path, "apology", MOST_APOLOGY_SECONDS)


def _is_file(text: str) -> bool:
    return text.lower().endswith(_SUFFIX)
