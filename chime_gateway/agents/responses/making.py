"""
Tracks the responses of one session that are in progress.

L{chime_gateway.agents.responses.wanted} has what each was asked for.
"""

from __future__ import annotations

from collections.abc import ItemsView, ValuesView
from typing import Final

from attrs import Factory, define

from chime_gateway.agents.responses.wanted import Sort, Wanted
from chime_gateway.wire.realtime.events import AudioDelta

#: What has begun may wait behind others to be heard.
_REMEMBERED: Final = 32


@define(eq=False)
class Response:
    """
    One that is being made.

    @ivar wanted: what it was asked for as; C{None}: the VAD asked for it.
    @ivar knows_until: it answers to all that was wanted until then.
    @ivar has_begun: there is audio of it, which was not cut before it was heard.
    @ivar has_called: it called a tool.
    @ivar has_text: it is written instead of spoken.
    @ivar written: the items that are.
    @ivar is_unheard: it must not be: its audio is dropped.
    @ivar is_put_off: what was said instead does not answer to what it would have.
    @ivar dropped: (item id, content index) of what was dropped of it.
    """

    wanted: Wanted | None
    knows_until: int = 0
    has_begun: bool = False
    has_called: bool = False
    has_text: bool = False
    written: list[str] = Factory(list)
    is_unheard: bool = False
    is_put_off: bool = False
    is_cancelled: bool = False
    dropped: dict[tuple[str, int], None] = Factory(dict)

    def knows(self, wanted: Wanted) -> bool:
        """It answers to this, too."""
        return wanted.sort is Sort.ANSWER and wanted.number <= self.knows_until

    def became(self, status: str) -> str:
        """
        @param status: as the service tells it.
        @return: also C{empty}: whole, with nothing to hear; and C{silent}: the answer
            was silence whenever it was asked for.
        """
        if self.is_cancelled:
            return "cancelled"  # in time or not: nobody hears the rest
        if (
            status != "completed"
            or self.has_begun
            or self.has_called
            or self.is_unheard
        ):
            return status
        is_silence = self.wanted is not None and self.wanted.was_only_silence
        return "silent" if is_silence and not self.has_text else "empty"

    def is_silence(self, status: str) -> bool:
        """
        An answer with nothing in it.

        @param status: as the service tells it.
        """
        is_answer = self.wanted is None or self.wanted.sort is Sort.ANSWER
        is_empty = self.became(status) in ("empty", "silent")
        return is_answer and is_empty and not self.has_text

    def was_in_vain(self, status: str) -> bool:
        """
        It had already failed when it was stopped.

        @param status: as the service tells it.
        """
        is_something = self.has_begun or self.has_called or self.dropped
        return status != "cancelled" and not is_something

    def silence(self) -> None:
        # Of what has begun the listener knows already that it is cut.
        self.is_unheard |= not self.has_begun


class Making:
    """One after the other, as a rule; two at a time are nothing unusual."""

    __slots__ = ("_active", "_begun")

    def __init__(self) -> None:
        self._active: dict[str, Response] = {}
        # By what begins them: (item id, content index) of their first audio.
        self._begun: dict[tuple[str, int], Response] = {}

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, response: Response) -> bool:
        return response in self._active.values()

    def values(self) -> ValuesView[Response]:
        return self._active.values()

    def items(self) -> ItemsView[str, Response]:
        """By their ids."""
        return self._active.items()

    def begin(self, response_id: str, response: Response) -> None:
        self._active[response_id] = response

    def end(self, response_id: str) -> Response | None:
        return self._active.pop(response_id, None)

    def is_making(self, wanted: Wanted) -> bool:
        """One that answers to this, too."""
        return any(response.knows(wanted) for response in self._active.values())

    def are_last_words(self) -> bool:
        wanted = (response.wanted for response in self._active.values())
        return any(one is not None and one.is_last for one in wanted)

    def audio_came(self, event: AudioDelta) -> bool:
        """Whether this audio is to be played."""
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
        """@param response_id: empty: it is not said which."""
        for active_id, response in self._active.items():
            if response_id in ("", active_id):
                response.has_called = True

    def unheard(self, item_id: str, content_index: int) -> Response | None:
        """
        This was cut before anything of it was heard.

        @return: the response that began with it: as if no audio of it had come.
        """
        response = self._begun.pop((item_id, content_index), None)
        if response is not None:
            response.has_begun = False
            response.is_unheard = True
        return response
