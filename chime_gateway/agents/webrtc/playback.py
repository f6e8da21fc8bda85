"""
Determines which response the caller hears, as audio over RTP does not name one.

Events are ahead of audio: a response is generated faster than it is spoken, and
C{response.done} arrives long before its last word.  For the rest of the gateway that
event means that no more audio will arrive, so it is held back until that is true.
C{output_audio_buffer} events and the order of responses show what is heard; if a
service does not send these events, silence shows that a response is over.

Time is an argument, in seconds, monotonic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from attrs import Factory, define, evolve

from chime_gateway.wire.realtime.events import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    Event,
    PartAdded,
    PlaybackStarted,
    PlaybackStopped,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    Usage,
)

#: The last packets of a response may arrive this much later than the event that reports
#: its end.
TAIL_SECONDS: Final = 0.25

#: The first frames are passed on together.  Later ones may then be late by as much
#: without an underrun.
_CUSHION_FRAMES: Final = 3

#: Number of frames that are kept until their response is known.
_EARLY_FRAMES: Final = 15

#: Packets that were in transit when a service dropped the rest arrive within this time.
_STALE_SECONDS: Final = 0.3

#: A complete response is over after this much silence: from a service that reported its
#: beginning, and from one that reports nothing about its buffer.
_SILENT_SECONDS: Final = 5.0
_SILENT_UNREPORTED_SECONDS: Final = 1.0

#: A complete response that is not heard within this time never will be.
_UNHEARD_SECONDS: Final = 3.0

#: How long silence replaces missing audio within a response; after that, others detect
#: the silence.  A service may also send silence after it has forgotten a response, so
#: silence in an incomplete response is dropped after the same time.
_GAP_SECONDS: Final = 1.5

#: Maximum number of responses that have not ended yet.
_MOST: Final = 16

#: Maximum number of parts of one response, and of its held back events; one is usual.
_MOST_PARTS: Final = 16


class PlaybackUser(Protocol):
    """Receives what is heard."""

    def handle(self, event: Event) -> None: ...
    def audio_came(self, audio: AudioDelta) -> None: ...
    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def tokens_came(self, usage: Usage) -> None: ...


@define(eq=False)
class _Response:
    """
    A response that is being generated or heard.

    @ivar parts: (item id, content index) of its audio, in order.
    @ivar has_begun: it has its turn to be heard.
    @ivar has_come: some of its audio has arrived.
    @ivar cushion: its first frames, until there are enough; C{None}: there were.
    @ivar tail: silence that arrived after all of it was sent; it belongs to the
        response only if more follows.
    @ivar is_over: no more of it will be heard.
    @ivar is_cut: the rest of it was dropped.
    @ivar ends: the events that are held back until it is over.
    @ivar done_at: when its C{response.done} arrived; C{None}: it has not.
    """

    id: str
    parts: list[tuple[str, int]] = Factory(list)
    has_begun: bool = False
    has_come: bool = False
    cushion: list[bytes] | None = Factory(list)
    tail: list[bytes] = Factory(list)
    is_over: bool = False
    is_cut: bool = False
    ends: list[AudioDone | ResponseDone] = Factory(list)
    done_at: float | None = None


class Playback:
    """
    The playback of one session.

    @param is_loud: returns whether there is speech in a frame.
    @param is_interruptible: the service itself stops speaking when the caller speaks.
    """

    __slots__ = (
        *("_current", "_cut_at", "_early", "_ends_at", "_frame_at", "_has_events"),
        *("_is_discarding", "_is_interruptible", "_is_loud", "_loud_at"),
        *("_responses", "_user"),
    )

    def __init__(
        self,
        user: PlaybackUser,
        is_loud: Callable[[bytes], bool],
        *,
        is_interruptible: bool,
    ) -> None:
        self._user = user
        self._is_loud = is_loud
        self._is_interruptible = is_interruptible
        self._responses: dict[str, _Response] = {}
        self._current: _Response | None = None
        self._early: deque[bytes] = deque()
        self._has_events = False
        self._is_discarding = False
        self._cut_at = self._frame_at = self._loud_at = 0.0
        self._ends_at: float | None = None

    # -- events ----------------------------------------------------------------------

    def event_came(self, event: Event, now: float) -> None:
        """Pass an event to the user, at once or when it has become true."""
        kind = type(event)
        if kind is ResponseDone:
            self._response_done(event, now)  # type: ignore[arg-type]
            return
        if kind is AudioDone:
            self._audio_done(event)  # type: ignore[arg-type]
            return
        if kind is AudioDelta:
            return  # its audio arrives over RTP
        if isinstance(event, ResponseStarted):
            if not event.transcript_of:
                self._begin_making(event.response_id)
        elif isinstance(event, PartAdded):
            if event.is_audio:
                self._has_part(event.response_id, event.item_id, event.content_index)
        elif isinstance(event, AgentTranscript) and event.response_id:
            self._has_part(event.response_id, event.item_id, 0)
        self._user.handle(event)
        if isinstance(event, PlaybackStarted):
            self._has_events = True
            self._started(event.response_id, now)
        elif isinstance(event, PlaybackStopped):
            self._stopped(event, now)
        elif isinstance(event, SpeechStarted) and self._is_interruptible:
            # The service stops its responses itself.
            for response in list(self._responses.values()):
                if not response.is_over:
                    self._cut(response, now)

    def _begin_making(self, response_id: str) -> None:
        if response_id and response_id not in self._responses:
            self._responses[response_id] = _Response(response_id)
            while len(self._responses) > _MOST:
                # The service does not end its responses: end the oldest one here.
                self._end(self._responses.pop(next(iter(self._responses))))

    def _has_part(self, response_id: str, item_id: str, content_index: int) -> None:
        response = self._responses.get(response_id)
        if response is None or not item_id or len(response.parts) >= _MOST_PARTS:
            return
        if all(item_id != known for known, _ in response.parts):
            response.parts.append((item_id, content_index))

    def _started(self, response_id: str, now: float) -> None:
        response = self._responses.get(response_id)
        if not response_id:
            response = self._expected()
        if response is not None and not response.is_over:
            self._begin(response, now)

    def _stopped(self, event: PlaybackStopped, now: float) -> None:
        response = self._responses.get(event.response_id)
        if not event.response_id:
            response = self._current
        if response is None:
            return
        if event.is_cut:
            self._cut(response, now)
        elif response is self._current:
            self._ends_at = now + TAIL_SECONDS
        elif response.done_at is not None:
            self._end(response)

    def _audio_done(self, event: AudioDone) -> None:
        for response in self._responses.values():
            if any(event.item_id == item_id for item_id, _ in response.parts):
                if not response.is_over and len(response.ends) < _MOST_PARTS:
                    response.ends.append(event)
                return
        self._user.handle(event)

    def _response_done(self, event: ResponseDone, now: float) -> None:
        response = self._responses.get(event.response_id)
        if response is None or not response.parts:
            # It has no audio.
            self._responses.pop(event.response_id, None)
            self._user.handle(event)
        elif response.is_over:
            del self._responses[response.id]
            self._tell(response, event)
        elif response.done_at is None:
            # Later repetitions of the event by the service are ignored.
            self._user.tokens_came(event.usage)
            response.ends.append(evolve(event, usage=Usage()))
            response.done_at = now

    # -- audio -----------------------------------------------------------------------

    def audio_came(self, audio: bytes, now: float) -> None:
        """Called for every frame."""
        response = self._current
        if response is not None:
            self._frame_at = now
            response.has_come = True
            if self._is_loud(audio):
                self._loud_at = now
                if response.tail:
                    audio = b"".join((*response.tail, audio))
                    response.tail.clear()
            elif self._ends_at is not None:
                response.tail.append(audio)
                return
            elif response.done_at is None and now - self._loud_at >= _GAP_SECONDS:
                return
            self._pass_on(response, audio)
            return
        if self._is_discarding and now - self._cut_at < _STALE_SECONDS:
            if self._is_loud(audio):
                self._user.audio_dropped("stale", len(audio))
            return
        self._early_came(audio, now)

    def gap_filled(self, audio: bytes, now: float) -> None:
        """Audio replaces missing packets; used within a response that has begun."""
        response = self._current
        if response is None or not response.has_come:
            return
        if now - self._frame_at >= _GAP_SECONDS:
            return
        if self._ends_at is not None:
            response.tail.append(audio)
        else:
            self._pass_on(response, audio)

    def _pass_on(self, response: _Response, audio: bytes) -> None:
        cushion = response.cushion
        if cushion is not None:
            cushion.append(audio)
            if len(cushion) >= _CUSHION_FRAMES:
                self._let_go(response)
            return
        item_id, content_index = response.parts[0]
        self._user.audio_came(AudioDelta(response.id, item_id, content_index, audio))

    def _let_go(self, response: _Response) -> None:
        """Pass on the frames of the cushion, without waiting for more."""
        cushion, response.cushion = response.cushion, None
        if cushion:
            self._pass_on(response, b"".join(cushion))

    def _early_came(self, audio: bytes, now: float) -> None:
        """Audio outside a response: noise in a pause, or the beginning of the next."""
        early = self._early
        early.append(audio)
        is_loud = self._is_loud(audio)
        if is_loud and (response := self._expected()) is not None:
            self._begin(response, now)
        elif len(early) > _EARLY_FRAMES:
            lost = early.popleft()
            if self._is_loud(lost):
                self._user.audio_dropped("no_item", len(lost))

    def _expected(self) -> _Response | None:
        """Return the first response of which nothing was heard yet."""
        for response in self._responses.values():
            if response.parts and not response.is_over and not response.has_begun:
                return response
        return None

    def _begin(self, response: _Response, now: float) -> None:
        if response is self._current or not response.parts:
            return
        if self._current is not None:
            self._end(self._current)
        self._current = response
        response.has_begun = True
        self._is_discarding = False
        self._ends_at = None
        self._frame_at = self._loud_at = now
        early, self._early = self._early, deque()
        # A pause before the first word belongs to no response.
        while early and not self._is_loud(early[0]):
            early.popleft()
        response.has_come = bool(early)
        for audio in early:
            self._pass_on(response, audio)

    # -- ends ------------------------------------------------------------------------

    def is_made(self, response_id: str) -> bool:
        """Return whether the end of a response has arrived, and is held back."""
        response = self._responses.get(response_id)
        return response is not None and response.done_at is not None

    def cancelled(self, response_id: str, now: float) -> None:
        """
        The gateway has cancelled this response at the service.  Its held back events
        are passed on with the next beat.
        """
        response = self._responses.get(response_id)
        if response is not None and not response.is_over:
            self._silence(response, now)

    def _cut(self, response: _Response, now: float) -> None:
        """The service drops what it has not sent of this response."""
        self._silence(response, now)
        self._end(response)

    def _silence(self, response: _Response, now: float) -> None:
        response.is_over = response.is_cut = True
        self._is_discarding = True
        self._cut_at = now
        self._early.clear()
        if response is self._current:
            self._current = None
            self._ends_at = None
        # The end of its audio is not reported.
        response.ends = [e for e in response.ends if isinstance(e, ResponseDone)]

    def _end(self, response: _Response) -> None:
        """The response is over: pass on the events that were held back."""
        if not response.is_over:
            self._let_go(response)
        response.is_over = True
        if response is self._current:
            self._current = None
            self._ends_at = None
        ends, response.ends = response.ends, []
        if response.done_at is not None:
            self._responses.pop(response.id, None)
        for event in ends:
            self._tell(response, event)

    def _tell(self, response: _Response, event: AudioDone | ResponseDone) -> None:
        if isinstance(event, ResponseDone) and response.is_cut:
            # It was generated to the end, but not heard to the end.
            event = evolve(event, status="cancelled")
        self._user.handle(event)

    def tick(self, now: float) -> None:
        """Called with each beat of 20 ms."""
        response = self._current
        if response is None:
            self._end_unheard(now)
        elif self._ends_at is not None:
            if now >= self._ends_at:
                self._end(response)
        elif response.done_at is not None:
            is_reported = self._has_events
            most = _SILENT_SECONDS if is_reported else _SILENT_UNREPORTED_SECONDS
            if now - max(self._loud_at, response.done_at) >= most:
                self._end(response)
        elif response.ends and now - self._loud_at >= _GAP_SECONDS:
            # Its audio is complete, but the service does not report its end.
            self._let_go(response)
            ends, response.ends = response.ends, []
            for event in ends:
                self._tell(response, event)

    def _end_unheard(self, now: float) -> None:
        for response in self._responses.values():
            done_at = response.done_at
            if done_at is not None and (
                response.is_over or now - done_at >= _UNHEARD_SECONDS
            ):
                self._end(response)
                return
