"""
Limits how much a session accepts from its service.

A service is faster than real time, so a lot at once may be healthy: an answer of ten
minutes, all its text, many tools.  A service that sends more than that for long is
broken or hostile: it would fill memory, disk and log, and take time from other calls.
"""

from __future__ import annotations

from array import array
from typing import Final

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from chime_gateway.audio import Codec
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.realtime.events import (
    AgentTranscript,
    AudioDelta,
    CallerTranscript,
    Event,
    McpCalled,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    TranscriptionFailed,
)


@frozen
class Bound:
    """
    @ivar index: among all of a session's.
    @ivar rate: so many a second, and C{burst} at once.
    @ivar seconds: the burst is so far ahead of the rate.
    """

    index: int
    rate: float
    burst: float
    what: str
    seconds: float = field(init=False)

    @seconds.default
    def _seconds(self) -> float:
        return self.burst / self.rate


#: Frames of any kind: a long answer has some thousand pieces of text, and so have the
#: arguments of many tools.
MESSAGES: Final = Bound(0, 500, 20_000, "messages")

#: Of all that is no audio.
BYTES: Final = Bound(1, 32_768, 16 << 20, "bytes")

#: Most of it may be generated and not be heard.
AUDIO: Final = Bound(2, 10, 1800, "seconds of audio")

#: Responses, turns, items: something is kept of each.
BEGINNINGS: Final = Bound(3, 5, 1000, "items")

#: Each is written down.
TOOLS: Final = Bound(4, 5, 500, "tools")

#: Lines of the log; the call's record counts what they tell of.
LINES: Final = Bound(5, 1 / 30, 20, "lines")

_BOUNDS: Final = 6

_AUDIO: Final = AUDIO.index

#: A piece of audio that is shorter is a frame like any other.
_SHORTEST_SECONDS: Final = 0.01

_BEGINS: Final = (
    *(ResponseStarted, SpeechStarted, SpeechStopped),
    *(CallerTranscript, TranscriptionFailed),
)


class TooMuch(RemoteProtocolError):
    """The service sends more than any agent has to say."""


def _too_much(bound: Bound) -> TooMuch:
    return TooMuch(
        f"more than {bound.burst} {bound.what} at once and {bound.rate} a second"
    )


class Intake:
    """
    @param codec: of the audio that comes.
    """

    __slots__ = ("_audio_seconds", "_item_id", "_seconds", "_shortest_bytes", "_until")

    def __init__(self, clock: IReactorTime, codec: Codec) -> None:
        self._seconds = clock.seconds
        self._shortest_bytes = _SHORTEST_SECONDS * codec.bytes_per_second
        # Of the time that its bound is told in.
        self._audio_seconds = 1 / codec.bytes_per_second / AUDIO.rate
        # For each bound: when all that came would have come at its rate.
        self._until = array("d", bytes(8 * _BOUNDS))
        self._item_id = ""

    def message(self, event: Event, size: int) -> None:
        """
        An event other than audio that came in so many bytes.

        @raise TooMuch: it is one too many.
        """
        now = self._seconds()
        self._take(MESSAGES, now, 1)
        self._take(BYTES, now, size)
        if isinstance(event, AgentTranscript):
            if event.item_id != self._item_id:
                self._item_began(event.item_id, now)
        elif isinstance(event, _BEGINS):
            self._take(BEGINNINGS, now, 1)
        elif isinstance(event, ToolCalled | McpCalled):
            self._take(TOOLS, now, 1)

    def audio(self, event: AudioDelta) -> None:
        """
        Fifty times a second in each call: as few steps as may be.

        @raise TooMuch: it is one too many.
        """
        now = self._seconds()
        length = len(event.audio)
        if length < self._shortest_bytes:
            self._take(MESSAGES, now, 1)
        until = self._until[_AUDIO]
        until = (until if until > now else now) + length * self._audio_seconds
        if until - now > AUDIO.seconds:
            raise _too_much(AUDIO)
        self._until[_AUDIO] = until
        if event.item_id != self._item_id:
            self._item_began(event.item_id, now)

    def frame(self) -> bool:
        """One that is no message: a ping, or a piece of a message."""
        return self._is_within(MESSAGES, self._seconds(), 1)

    def may_log(self) -> bool:
        """Whether one more line may be written of what the service says."""
        return self._is_within(LINES, self._seconds(), 1)

    # -- inside ------------------------------------------------------------------

    def _item_began(self, item_id: str, now: float) -> None:
        self._item_id = item_id
        self._take(BEGINNINGS, now, 1)

    def _take(self, bound: Bound, now: float, count: float) -> None:
        if not self._is_within(bound, now, count):
            raise _too_much(bound)

    def _is_within(self, bound: Bound, now: float, count: float) -> bool:
        until = max(now, self._until[bound.index]) + count / bound.rate
        if until - now > bound.seconds:
            return False
        self._until[bound.index] = until
        return True
