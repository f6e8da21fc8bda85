"""Converts a sound of the gateway's own to the codec of a leg, once for all calls."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import unpack

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.codec.companding import LAWS, compress
from chime_gateway.settings.sound import Sound

#: As many as there may be of profiles' sounds and codecs together; the others are made
#: again.
_MOST_PROMPTS = 64


@lru_cache(_MOST_PROMPTS)
def prompt(sound: Sound, codec: Codec) -> bytes:
    """The whole of it."""
    law = LAWS.get(codec.name)
    form = (sound.rate, sound.width, sound.channels)
    if law is not None and form == (codec.clock_rate, 2, 1):
        # As the apologies are that come with the package: numpy is not loaded for them.
        return compress(law, unpack(f"<{len(sound.data) // 2}h", sound.data))
    from chime_gateway.codec.registry import encode, mono
    from chime_gateway.codec.resample import Resampler

    samples = mono(sound.data, sound.width, sound.channels)
    if sound.rate != codec.clock_rate:
        samples = Resampler(sound.rate, codec.clock_rate).resample(samples)
    return encode(codec, samples)


def prepare(sounds: Iterable[Sound]) -> None:
    """
    Make those now that telephones want.  A long one with many samples takes 200 ms, for
    which no call should stand still.
    """
    for sound in sounds:
        for codec in (PCMU, PCMA):
            prompt(sound, codec)
