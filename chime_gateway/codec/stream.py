"""
Transcodes a stream from one codec to another.

Most calls have the same codec on both sides.  Processing samples needs numpy, which
is 10 MB and a quarter of a second: it is imported for the first call that needs it,
and by L{chime_gateway.app.compose} before that, as far as that can be foreseen.
"""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.audio import Codec


class Aligner:
    """Pass a stream on in whole samples, keeping half of one for the next time."""

    def __init__(self, sample_bytes: int) -> None:
        self._sample_bytes = sample_bytes
        self._rest = b""

    def align(self, audio: bytes) -> bytes:
        audio = self._rest + audio
        whole = len(audio) - len(audio) % self._sample_bytes
        self._rest = audio[whole:]
        return audio[:whole]


def transcoder(source: Codec, target: Codec) -> Callable[[bytes], bytes] | None:
    """How to get from C{source} to C{target}; C{None}: the bytes pass as they are."""
    if source != target:
        from chime_gateway.codec.registry import Transcoder

        return Transcoder(source, target).transcode
    if source.sample_bytes > 1:
        return Aligner(source.sample_bytes).align
    return None
