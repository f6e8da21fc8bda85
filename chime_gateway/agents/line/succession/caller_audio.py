"""
What the caller said last, for a session that may have to hear it again.

A few moments are kept always, as a turn begins before anybody says so; all of a turn
is, as far as there is room, until it is known what was said or an answer begins.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.audio import Codec
from chime_gateway.codec.level import level_dbfs
from chime_gateway.codec.registry import decode, transcoder

#: Before a service says that the caller speaks, he does.
BEFORE_SECONDS: Final = 0.3

#: While a session says nothing at all.
ATTENTIVE_SECONDS: Final = 1.5

#: Speech on a telephone is 10 dB louder on average, what is behind it less loud.
_SPEECH_DBFS: Final = -42.0

#: Of a turn, and of what is said while there is no session.
MOST_SECONDS: Final = 10.0


class CallerAudio:
    """
    @param codec: of what is added.
    @ivar turn: the item of the turn that is kept; empty: none.
    @ivar is_over: the service has said that the turn is.
    @ivar is_held: nobody hears it now.
    @ivar is_whole: as much as there is room for is kept, whoever speaks.
    """

    def __init__(self, codec: Codec) -> None:
        self.turn = ""
        self.is_over = False
        self.is_held = self.is_whole = self._is_attentive = False
        self._codec = codec
        self._audio = bytearray()
        self._end = 0
        self._most = self._moment = 0
        self._set_most()

    def add(self, audio: bytes) -> int:
        """
        @return: so many bytes nobody will have heard, as there is no room.
        """
        kept = self._audio
        kept += audio
        excess = len(kept) - self._most
        if excess <= 0:
            return 0
        del kept[:excess]
        if self._end:
            self._end = max(0, self._end - excess)
        return excess if self.is_held else 0

    def is_loud(self) -> bool:
        """
        Somebody may be speaking, of whom the session says nothing: more is kept from
        now on, and all of it once somebody is loud.
        """
        moment = bytes(self._audio[-self._moment :])
        is_loud = level_dbfs(decode(self._codec, moment)) > _SPEECH_DBFS
        self.is_whole |= is_loud
        self._is_attentive = True
        self._set_most()
        return is_loud

    def began(self, item_id: str) -> None:
        """The caller speaks."""
        self.turn = item_id
        self.is_over = False
        self._set_most()

    def stopped(self) -> None:
        self.is_over = True
        self._end = len(self._audio)

    def settle(self) -> None:
        """The turn need not be heard again."""
        if self.turn:
            self.turn = ""
            del self._audio[: self._end]
            self._end = 0
            self._set_most()

    def hold(self) -> None:
        """There is no session."""
        self.is_held = self.is_whole = True
        self._set_most()

    def doubt(self) -> None:
        """There is one, and it may have stalled."""
        self.is_whole = True
        self._set_most()

    def relax(self) -> None:
        """There is one, and it would have said by now that the caller speaks."""
        self.is_whole = self._is_attentive = False
        self._set_most()

    def take(self, codec: Codec) -> bytes:
        """
        All of it, for a session of that codec, which hears what is added from now on.
        """
        self.is_held = False
        self.is_whole = True
        audio = bytes(self._audio)
        if codec is not self._codec:
            change = transcoder(self._codec, codec)
            self._codec = codec
            audio = audio if change is None else change(audio)
            share = self._end / max(1, len(self._audio))
            self._audio[:] = audio
            size = codec.sample_bytes
            self._end = int(len(audio) * share) // size * size
            self._set_most()
        return audio

    def _set_most(self) -> None:
        is_all = bool(self.turn) or self.is_whole
        seconds = ATTENTIVE_SECONDS if self._is_attentive else BEFORE_SECONDS
        if is_all:
            seconds = MOST_SECONDS
        self._most = int(seconds * self._codec.bytes_per_second)
        self._moment = 5 * self._codec.frame_bytes
        excess = len(self._audio) - self._most
        if excess > 0:
            del self._audio[:excess]
            self._end = max(0, self._end - excess)
