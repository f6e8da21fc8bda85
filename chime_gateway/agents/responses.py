"""
The responses of one session: which are being made, and which is wanted next.

One at a time is spoken; another waits until that one is done.  Beside them the model
may write down what the caller said, in responses of which nobody hears.

What is said in a response, and when one is wanted, is not known here.
"""

from __future__ import annotations

from typing import Final

from attrs import asdict

from chime_gateway.agents.commands import Asked, Commands, Kind
from chime_gateway.interfaces import AgentEvents
from chime_gateway.settings.transcribers import Transcription
from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime import dialects
from chime_gateway.wire.realtime.commands import Command
from chime_gateway.wire.realtime.events import (
    ResponseDone,
    ResponseStarted,
    ResponseText,
)

#: The agent speaks to what it knows, without orders for this once.
PLAIN_RESPONSE: Final = realtime_commands.create_response()

#: Transcripts that are being made; one takes a second or two, but a service may never
#: say that it is done.
_MAX_TRANSCRIPTS: Final = 256


class Responses:
    def __init__(self, commands: Commands, events: AgentEvents) -> None:
        self._commands = commands
        self._events = events
        self._active: set[str] = set()
        self._wanted: Command | None = None
        self._last_words: Command | None = None
        self._transcripts: dict[str, str] = {}  # response -> the item it writes down
        self._written: set[str] = set()  # those of which the text has come

    # -- wanted ------------------------------------------------------------------

    def create(self, command: Command) -> None:
        """One at a time: it waits until the active one is done."""
        if not self._active and not self._commands.is_waiting(Kind.RESPONSE):
            self._wanted = None
            self._commands.ask(Kind.RESPONSE, command)
        else:
            self._wanted = command

    def create_now(self, command: Command, *, is_last: bool) -> None:
        """Instead of the one that is being made."""
        if is_last:
            self._last_words = command
        self._cancel_active()
        self.create(command)

    def cancel(self) -> None:
        """Neither the one that is being made nor the one that waits."""
        self._wanted = None
        self._cancel_active()

    def _cancel_active(self) -> None:
        if self._active:
            self._commands.ask(Kind.CANCEL, realtime_commands.cancel_response())

    def write_down(
        self, dialect: dialects.Dialect, item_id: str, transcription: Transcription
    ) -> None:
        """Have the model write down an item of the caller's."""
        command = realtime_commands.create_transcript(dialect, item_id, transcription)
        self._commands.ask(Kind.TRANSCRIPT, command, item_id)

    # -- told by the service -------------------------------------------------------

    def was_second(self, asked: Asked | None) -> None:
        """
        The VAD was first; ours follows when that one is done, unless something
        newer waits already.
        """
        if asked is None:
            asked = self._commands.answer(Kind.RESPONSE)
        if asked is not None and asked.kind is Kind.RESPONSE:
            self._wanted = self._wanted or asked.command
            if asked.command is self._last_words:
                self._cancel_active()

    def was_refused(self) -> None:
        """One that was asked for will not be made."""
        self._go_on()

    def _go_on(self) -> None:
        """What waits has its turn, unless another one is being made."""
        if self._wanted is not None and not self._active:
            self.create(self._wanted)

    def started(self, event: ResponseStarted) -> None:
        if event.transcript_of:
            self._commands.answer(Kind.TRANSCRIPT, event.transcript_of)
            self._transcripts[event.response_id] = event.transcript_of
            if len(self._transcripts) > _MAX_TRANSCRIPTS:
                oldest = next(iter(self._transcripts))
                del self._transcripts[oldest]
                self._written.discard(oldest)
            return
        self._active.add(event.response_id)
        asked = self._commands.answer(Kind.RESPONSE)
        last_words = self._last_words
        if last_words is not None and asked is not None and asked.command is last_words:
            self._events.last_words_start(event.response_id)
        self._events.response_started(event.response_id)
        if last_words is not None and self._wanted is last_words:
            self._cancel_active()

    def text(self, event: ResponseText) -> None:
        item_id = self._transcripts.get(event.response_id)
        if item_id is not None:
            self._written.add(event.response_id)
            self._events.caller_said(item_id, event.text.strip())

    def done(self, event: ResponseDone) -> None:
        transcript_of = self._transcripts.pop(event.response_id, None)
        if transcript_of is not None:
            self._transcript_done(transcript_of, event)
            # Where a service makes one response at a time, it was in the way.
            self._go_on()
            return
        self._active.discard(event.response_id)
        if event.status == "cancelled":
            self._commands.answer(Kind.CANCEL)
        wanted, self._wanted = self._wanted, None
        self._events.response_done(
            event.response_id, event.status, event.detail, asdict(event.usage)
        )
        if wanted is None or self._wanted is not None:
            return  # something newer was asked for just now
        if wanted == PLAIN_RESPONSE and self._commands.is_waiting(Kind.RESPONSE):
            return  # the one just asked for knows all that this one would
        self.create(wanted)

    def _transcript_done(self, item_id: str, event: ResponseDone) -> None:
        has_text = event.response_id in self._written
        self._written.discard(event.response_id)
        self._events.tokens_used(asdict(event.usage))
        if event.status == "completed" and not has_text:
            # Nothing is said in it, so the model wrote nothing.
            self._events.caller_said(item_id, "")
        elif event.status != "completed":
            text = f"{event.status}: {event.detail}"
            self._events.transcription_failed(item_id, "failed", text)
