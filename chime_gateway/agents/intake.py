"""
Limits how much a session accepts from its service.

A service is faster than real time, so a large burst may be normal: an answer of ten
minutes, all its text, many tool calls.  A service that keeps sending more than that is
broken or hostile: it would fill memory, disk and log, and take CPU time from other
calls.
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
    A limit, as a token bucket.

    @ivar index: of this limit among all limits of a session.
    @ivar rate: per second.
    @ivar burst: the number that may arrive at once.
    @ivar what: the unit, for messages.
    @ivar seconds: how long the burst would take at C{rate}.
    """

    index: int
    rate: float
    burst: float
    what: str
    seconds: float = field(init=False)

    @seconds.default
    def _seconds(self) -> float:
        return self.burst / self.rate


#: WebSocket frames of any kind: a long answer has a few thousand pieces of text, and so
#: have the arguments of many tool calls.
MESSAGES: Final = Bound(0, 500, 20_000, "messages")

#: Bytes of everything but audio.
BYTES: Final = Bound(1, 32_768, 16 << 20, "bytes")

#: Audio may be generated and never be heard, so this is far more than a caller hears.
AUDIO: Final = Bound(2, 10, 1800, "seconds of audio")

#: Responses, turns and items: the call keeps something of each.
BEGINNINGS: Final = Bound(3, 5, 1000, "items")

#: Tool calls: each is recorded.
TOOLS: Final = Bound(4, 5, 500, "tools")

#: Log lines; the call's record counts the events behind them.
LINES: Final = Bound(5, 1 / 30, 20, "lines")

_BOUNDS: Final = 6

_AUDIO: Final = AUDIO.index

#: A shorter piece of audio also counts as a message.
_SHORTEST_SECONDS: Final = 0.01

_BEGINS: Final = (
    *(ResponseStarted, SpeechStarted, SpeechStopped),
    *(CallerTranscript, TranscriptionFailed),
)


class LimitExceeded(RemoteProtocolError):
    """The service sends more than any agent has to say."""


def _exceeded(bound: Bound) -> LimitExceeded:
    return LimitExceeded(
        f"more than {bound.burst} {bound.what} at once and {bound.rate} a second"
    )


class Intake:
    """
    What one session accepts.

    @param codec: of the service's audio.
    """

    __slots__ = ("_audio_seconds", "_item_id", "_seconds", "_shortest_bytes", "_until")

    def __init__(self, clock: IReactorTime, codec: Codec) -> None:
        self._seconds = clock.seconds
        self._shortest_bytes = _SHORTEST_SECONDS * codec.bytes_per_second
        # The time that one byte takes at the rate of the limit for audio.
        self._audio_seconds = 1 / codec.bytes_per_second / AUDIO.rate
        # For each limit: when everything so far would have arrived at its rate.
        self._until = array("d", bytes(8 * _BOUNDS))
        self._item_id = ""

    def message(self, event: Event, size: int) -> None:
        """
        Count an event other than audio.

        @param size: of its message, in bytes.
        @raise LimitExceeded: a limit is exceeded.
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
        Count a piece of audio.  Called fifty times a second in each call, so it does as
        little as possible.

        @raise LimitExceeded: a limit is exceeded.
        """
        now = self._seconds()
        length = len(event.audio)
        if length < self._shortest_bytes:
            self._take(MESSAGES, now, 1)
        until = self._until[_AUDIO]
        until = (until if until > now else now) + length * self._audio_seconds
        if until - now > AUDIO.seconds:
            raise _exceeded(AUDIO)
        self._until[_AUDIO] = until
        if event.item_id != self._item_id:
            self._item_began(event.item_id, now)

    def frame(self) -> bool:
        """Count a WebSocket frame that is not a whole message; C{False}: too many."""
        return self._is_within(MESSAGES, self._seconds(), 1)

    def may_log(self) -> bool:
        """Return whether one more log line may quote the service."""
        return self._is_within(LINES, self._seconds(), 1)

    # -- inside ------------------------------------------------------------------

    def _item_began(self, item_id: str, now: float) -> None:
        self._item_id = item_id
        self._take(BEGINNINGS, now, 1)

    def _take(self, bound: Bound, now: float, count: float) -> None:
        if not self._is_within(bound, now, count):
            raise _exceeded(bound)

    def _is_within(self, bound: Bound, now: float, count: float) -> bool:
        until = max(now, self._until[bound.index]) + count / bound.rate
        if until - now > bound.seconds:
            return False
        self._until[bound.index] = until
        return True
