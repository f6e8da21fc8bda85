"""
Keeps what the caller said last, for a session that may have to hear it again.

The last few moments are always kept, as a turn begins before VAD reports it.  A whole
turn is kept, as far as there is room, until its text is there or an answer begins.  It
is most of what a call holds.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.loudness import is_loud
from chime_gateway.codec.stream import transcoder

#: A service says within this that the caller speaks.
NOTICE_SECONDS: Final = 1.2

#: Before a service says that the caller speaks, he does.
BEFORE_SECONDS: Final = 0.3

#: Of somebody who is loud, while the session gives signs of life: of what is older it
#: would have said something, if it took it for speech.
LOUD_SECONDS: Final = NOTICE_SECONDS + BEFORE_SECONDS

#: Of a turn, and of what is said while there is no session.
MOST_SECONDS: Final = 10.0


class CallerAudio:
    """
    @param codec: of what is added.
    @ivar turn: the item of the turn that is kept; empty: none.
    @ivar is_over: the service has said that the turn is.
    @ivar is_held: nobody hears it now.
    @ivar audio: every frame is appended here; L{trim} says what there was no room for.
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
        Some times a second.

        @return: so many bytes nobody will have heard, as there was no room.
        """
        self._has_more |= len(self.audio) > self._seen
        excess = self._forget_excess()
        self._seen = len(self.audio)
        return excess if self.is_held else 0

    def was_loud(self) -> bool:
        """What came last before L{trim}, if anything had since this was asked."""
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
        """Keep the audio, as there is no session."""
        self.is_held = True
        self.keep(MOST_SECONDS)

    def keep(self, seconds: float) -> None:
        """Keep so many seconds from now on, and all of a turn."""
        self._seconds = seconds
        self._set_most()

    def take(self, codec: Codec) -> bytes:
        """
        All of it, for a session of that codec, which hears what is added from now on.
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
