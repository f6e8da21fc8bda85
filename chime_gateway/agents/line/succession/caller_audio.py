"""
Keeps what the caller said last, for a session that may have to hear it again.

The last moments are always kept, as a turn begins before VAD reports it.  A whole turn
is kept, as far as there is room, until its text arrives or an answer begins.  This is
most of the memory that a call uses.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.loudness import is_loud
from chime_gateway.codec.stream import transcoder

#: The longest time until a service reports that the caller speaks.
NOTICE_SECONDS: Final = 1.2

#: How much to keep of a quiet caller, for the beginning of a turn.
BEFORE_SECONDS: Final = 0.3

#: How much to keep of a loud caller, while the session is active: it would already have
#: reported anything older that it took for speech.
LOUD_SECONDS: Final = NOTICE_SECONDS + BEFORE_SECONDS

#: How much to keep of a turn, and of speech while there is no session.
MOST_SECONDS: Final = 10.0


class CallerAudio:
    """
    The caller's recent audio.

    @param codec: of the audio that is added.
    @ivar turn: the item of the turn that is kept; empty: none.
    @ivar is_over: the service has reported the end of the turn.
    @ivar is_held: there is no session to hear the caller now.
    @ivar audio: every frame is appended here; L{trim} drops what does not fit.
    """

    __slots__ = (
        *("_codec", "_end", "_has_more", "_moment", "_most", "_seconds", "_seen"),
        *("audio", "is_held", "is_over", "turn"),
    )

    def __init__(self, codec: Codec) -> None:
        self.turn = ""
        self.is_over = False
        self.is_held = self._has_more = False
        self._seconds = MOST_SECONDS
        self._codec = codec
        self.audio = bytearray()
        self._end = self._seen = 0
        self._most = self._moment = 0
        self._set_most()

    def trim(self) -> int:
        """
        Drop what does not fit.  Called a few times a second.

        @return: number of dropped bytes that no session has heard.
        """
        self._has_more |= len(self.audio) > self._seen
        excess = self._forget_excess()
        self._seen = len(self.audio)
        return excess if self.is_held else 0

    def was_loud(self) -> bool:
        """Return whether the newest audio, if any since the last call, was loud."""
        if not self._has_more:
            return False
        self._has_more = False
        return is_loud(self._codec, self.audio[-self._moment :])

    def began(self, item_id: str) -> None:
        """The caller speaks."""
        self.turn = item_id
        self.is_over = False
        self._set_most()

    def stopped(self) -> None:
        self.is_over = True
        self._end = len(self.audio)

    def settle(self) -> None:
        """The turn need not be heard again."""
        if self.turn:
            self.turn = ""
            self._forget(self._end)
            self._set_most()

    def hold(self) -> None:
        """Keep the audio for the next session: there is none now."""
        self.is_held = True
        self.keep(MOST_SECONDS)

    def keep(self, seconds: float) -> None:
        """Keep this many seconds from now on; of a turn, L{MOST_SECONDS}."""
        self._seconds = seconds
        self._set_most()

    def take(self, codec: Codec) -> bytes:
        """
        Return all audio in the codec of a new session, which hears later audio itself.
        """
        self.is_held = False
        self._seconds = MOST_SECONDS
        audio = bytes(self.audio)
        if codec is not self._codec:
            change = transcoder(self._codec, codec)
            self._codec = codec
            audio = audio if change is None else change(audio)
            share = self._end / max(1, len(self.audio))
            self.audio[:] = audio
            size = codec.sample_bytes
            self._end = int(len(audio) * share) // size * size
            self._set_most()
        return audio

    def _set_most(self) -> None:
        seconds = MOST_SECONDS if self.turn else self._seconds
        self._most = int(seconds * self._codec.bytes_per_second)
        self._moment = 5 * self._codec.frame_bytes
        self._forget_excess()

    def _forget_excess(self) -> int:
        excess = len(self.audio) - self._most
        if excess <= 0:
            return 0
        self._forget(excess)
        return excess

    def _forget(self, size: int) -> None:
        del self.audio[:size]
        self._end = max(0, self._end - size)
        self._seen = max(0, self._seen - size)
