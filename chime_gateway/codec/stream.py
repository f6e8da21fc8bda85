"""
Transcodes a stream from one codec to another.

Most calls have the same codec on both sides.  Processing samples needs numpy, which
takes 10 MB and a quarter of a second to load.  It is imported for the first call that
needs it, or earlier by L{chime_gateway.app.compose} if the need can be foreseen.
"""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.audio import Codec


class Aligner:
    """Passes on a stream in whole samples; half a sample waits for the next chunk."""

    def __init__(self, sample_bytes: int) -> None:
        self._sample_bytes = sample_bytes
        self._rest = b""

    def align(self, audio: bytes) -> bytes:
        audio = self._rest + audio
        whole = len(audio) - len(audio) % self._sample_bytes
        self._rest = audio[whole:]
        return audio[:whole]


def transcoder(source: Codec, target: Codec) -> Callable[[bytes], bytes] | None:
    """Return the conversion of a stream; C{None}: the bytes pass unchanged."""
    if source != target:
        from chime_gateway.codec.registry import Transcoder

        return Transcoder(source, target).transcode
    if source.sample_bytes > 1:
        return Aligner(source.sample_bytes).align
    return None
