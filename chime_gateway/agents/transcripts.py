"""
Has the model transcribe what the caller said, by responses outside the conversation.

These responses have only text, which the caller does not hear.
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

#: Limits the number of tracked responses: one takes a second or two, but a service may
#: never report its end.
_MAX_TRANSCRIPTS: Final = 256


class Transcripts:
    __slots__ = ("_commands", "_events", "_items", "_written")

    def __init__(self, commands: Commands, events: AgentEvents) -> None:
        self._commands = commands
        self._events = events
        self._items: dict[str, str] = {}  # response -> the item that it transcribes
        self._written: set[str] = set()  # responses whose text has arrived

    def write_down(
        self, dialect: dialects.Dialect, item_id: str, transcription: Transcription
    ) -> None:
        """Have the model transcribe an item of the caller."""
        command = realtime_commands.create_transcript(dialect, item_id, transcription)
        self._commands.ask(Kind.TRANSCRIPT, command, item_id)

    def started(self, event: ResponseStarted) -> bool:
        """Return whether it is one of these responses."""
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
        """Return whether it is one of these responses."""
        item_id = self._items.pop(event.response_id, None)
        if item_id is None:
            return False
        has_text = event.response_id in self._written
        self._written.discard(event.response_id)
        self._events.tokens_used(asdict(event.usage))
        if event.status == "completed" and not has_text:
            # There was no speech in the item, so the model wrote nothing.
            self._events.caller_said(item_id, "")
        elif event.status != "completed":
            text = f"{event.status}: {event.detail}"
            self._events.transcription_failed(item_id, "failed", text)
        return True
