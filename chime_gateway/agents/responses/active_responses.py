"""
Tracks the responses of one session that are in progress.

L{chime_gateway.agents.responses.request_queue} has the request for each of them.
"""

from __future__ import annotations

from collections.abc import ItemsView, ValuesView
from typing import Final

from attrs import Factory, define

from chime_gateway.agents.responses.request_queue import ResponseRequest, Sort
from chime_gateway.wire.realtime.events import AudioDelta

#: Number of begun items that are remembered: they may wait behind others to be heard.
_REMEMBERED: Final = 32


@define(eq=False)
class Response:
    """
    A response in progress.

    @ivar request: the request for it; C{None}: the VAD requested it.
    @ivar knows_until: it answers all requests up to this number.
    @ivar has_begun: it has audio, which was not cut before any of it was heard.
    @ivar has_called: it has called a tool.
    @ivar has_text: it has written text instead of speech.
    @ivar written: the items with such text.
    @ivar is_unheard: it must not be heard: its audio is dropped.
    @ivar is_postponed: it gave way to other words, so its answer is still owed.
    @ivar dropped: (item id, content index) of its audio that was dropped.
    """

    request: ResponseRequest | None
    knows_until: int = 0
    has_begun: bool = False
    has_called: bool = False
    has_text: bool = False
    written: list[str] = Factory(list)
    is_unheard: bool = False
    is_postponed: bool = False
    is_cancelled: bool = False
    dropped: dict[tuple[str, int], None] = Factory(dict)

    def knows(self, request: ResponseRequest) -> bool:
        """Return whether it answers this request as well."""
        return request.sort is Sort.ANSWER and request.number <= self.knows_until

    def final_status(self, status: str) -> str:
        """
        Return how the response ended.

        @param status: the service's.
        @return: the same; or C{empty}: completed, but with nothing to hear; or
            C{silent}: every attempt at this answer was empty.
        """
        if self.is_cancelled:
            return "cancelled"  # even if too late: the rest is not heard
        if (
            status != "completed"
            or self.has_begun
            or self.has_called
            or self.is_unheard
        ):
            return status
        is_silence = self.request is not None and self.request.was_only_silence
        return "silent" if is_silence and not self.has_text else "empty"

    def is_silence(self, status: str) -> bool:
        """
        Return whether this is an answer with nothing in it.

        @param status: the service's.
        """
        is_answer = self.request is None or self.request.sort is Sort.ANSWER
        is_empty = self.final_status(status) in ("empty", "silent")
        return is_answer and is_empty and not self.has_text

    def had_failed(self, status: str) -> bool:
        """
        Return whether it had already failed when it was stopped.

        @param status: the service's.
        """
        is_something = self.has_begun or self.has_called or self.dropped
        return status != "cancelled" and not is_something

    def silence(self) -> None:
        # A response that has begun is cut by the pump.
        self.is_unheard |= not self.has_begun


class ActiveResponses:
    """The responses in progress: usually one, but two at a time are not unusual."""

    __slots__ = ("_active", "_begun")

    def __init__(self) -> None:
        self._active: dict[str, Response] = {}
        # By the (item id, content index) of their first audio.
        self._begun: dict[tuple[str, int], Response] = {}

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, response: Response) -> bool:
        return response in self._active.values()

    def values(self) -> ValuesView[Response]:
        return self._active.values()

    def items(self) -> ItemsView[str, Response]:
        """Return the responses by their ids."""
        return self._active.items()

    def begin(self, response_id: str, response: Response) -> None:
        self._active[response_id] = response

    def end(self, response_id: str) -> Response | None:
        return self._active.pop(response_id, None)

    def is_answering(self, request: ResponseRequest) -> bool:
        """Return whether a response in progress answers this request as well."""
        return any(response.knows(request) for response in self._active.values())

    def are_last_words(self) -> bool:
        request = (response.request for response in self._active.values())
        return any(one is not None and one.is_last for one in request)

    def audio_came(self, event: AudioDelta) -> bool:
        """Return whether to play this audio."""
        response = self._active.get(event.response_id)
        if response is None:
            if event.response_id or len(self._active) != 1:
                return True
            (response,) = self._active.values()
        if response.is_unheard:
            response.dropped[event.item_id, event.content_index] = None
            return False
        if event.audio and not response.has_begun:
            response.has_begun = True
            self._begun[event.item_id, event.content_index] = response
            if len(self._begun) > _REMEMBERED:
                del self._begun[next(iter(self._begun))]
        return True

    def text_came(self, response_id: str, item_id: str) -> None:
        response = self._active.get(response_id)
        if response is not None:
            response.has_text = True
            if item_id:
                response.written.append(item_id)

    def tool_called(self, response_id: str) -> None:
        """
        A response has called a tool.

        @param response_id: empty: unknown, so it may be any of them.
        """
        for active_id, response in self._active.items():
            if response_id in ("", active_id):
                response.has_called = True

    def unheard(self, item_id: str, content_index: int) -> Response | None:
        """
        Audio was cut before any of it was heard.

        @return: the response that began with it; it now counts as not begun.
        """
        response = self._begun.pop((item_id, content_index), None)
        if response is not None:
            response.has_begun = False
            response.is_unheard = True
        return response
