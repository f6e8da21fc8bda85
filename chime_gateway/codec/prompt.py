"""Converts the gateway's own sounds to the codec of a leg, once for all calls."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import unpack

from chime_gateway.audio import PCMA, PCMU, Codec
from chime_gateway.codec.companding import LAWS, compress
from chime_gateway.settings.sound import Sound

#: Size of the cache: enough for the usual numbers of sounds and codecs; others are
#: converted again.
_MOST_PROMPTS = 64


@lru_cache(_MOST_PROMPTS)
def prompt(sound: Sound, codec: Codec) -> bytes:
    """Return a whole sound in a codec."""
    law = LAWS.get(codec.name)
    form = (sound.rate, sound.width, sound.channels)
    if law is not None and form == (codec.clock_rate, 2, 1):
        # The package's own apologies have this form: numpy is not loaded for them.
        return compress(law, unpack(f"<{len(sound.data) // 2}h", sound.data))
    from chime_gateway.codec.registry import encode, mono
    from chime_gateway.codec.resample import Resampler

    samples = mono(sound.data, sound.width, sound.channels)
    if sound.rate != codec.clock_rate:
        samples = Resampler(sound.rate, codec.clock_rate).resample(samples)
    return encode(codec, samples)


def prepare(sounds: Iterable[Sound]) -> None:
    """
    Convert sounds to the codecs of telephones in advance.  A long one with a high
    sample rate takes 200 ms, which would delay all calls.
    """
    for sound in sounds:
        for codec in (PCMU, PCMA):
            prompt(sound, codec)
