"""
Has the model write down what the caller said, by responses outside of the
conversation.

These responses have text only: the caller does not hear them.
"""

from __future__ import annotations

from typing import Final

from attrs import asdict

from chime_gateway.agents.commands import Commands, Kind
from chime_gateway.interfaces import AgentEvents
from chime_gateway.settings.transcribers import Transcription
from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime import dialects
from chime_gateway.wire.realtime.events import (
    ResponseDone,
    ResponseStarted,
    ResponseText,
)

#: One takes a second or two, but a service may never say that it is done.
_MAX_TRANSCRIPTS: Final = 256


class Transcripts:
    __slots__ = ("_commands", "_events", "_items", "_written")

    def __init__(self, commands: Commands, events: AgentEvents) -> None:
        self._commands = commands
        self._events = events
        self._items: dict[str, str] = {}  # response -> the item it writes down
        self._written: set[str] = set()  # those of which the text has come

    def write_down(
        self, dialect: dialects.Dialect, item_id: str, transcription: Transcription
    ) -> None:
        """Have the model write down an item of the caller's."""
        command = realtime_commands.create_transcript(dialect, item_id, transcription)
        self._commands.ask(Kind.TRANSCRIPT, command, item_id)

    def started(self, event: ResponseStarted) -> bool:
        """Whether it is one of these."""
        if not event.transcript_of:
            return False
        self._commands.answer(Kind.TRANSCRIPT, event.transcript_of)
        self._items[event.response_id] = event.transcript_of
        if len(self._items) > _MAX_TRANSCRIPTS:
            oldest = next(iter(self._items))
            del self._items[oldest]
            self._written.discard(oldest)
        return True

    def text(self, event: ResponseText) -> None:
        item_id = self._items.get(event.response_id)
        if item_id is not None:
            self._written.add(event.response_id)
            self._events.caller_said(item_id, event.text.strip())

    def done(self, event: ResponseDone) -> bool:
        """Whether it is one of these."""
        item_id = self._items.pop(event.response_id, None)
        if item_id is None:
            return False
        has_text = event.response_id in self._written
        self._written.discard(event.response_id)
        self._events.tokens_used(asdict(event.usage))
        if event.status == "completed" and not has_text:
            # Nothing is said in it, so the model wrote nothing.
            self._events.caller_said(item_id, "")
        elif event.status != "completed":
            text = f"{event.status}: {event.detail}"
            self._events.transcription_failed(item_id, "failed", text)
        return True
