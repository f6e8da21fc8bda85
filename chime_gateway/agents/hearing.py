"""
Dispatches the events of a ready session: to the call, and to the objects that track
commands, responses and transcripts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import asdict

from chime_gateway.agents.commands import Commands, Kind, SentCommand
from chime_gateway.agents.configuration import Configuration
from chime_gateway.agents.line.recall import say_instead, was_added
from chime_gateway.agents.mcp_calls import McpCalls
from chime_gateway.agents.responses.responses import Responses
from chime_gateway.agents.transcripts import Transcripts
from chime_gateway.interfaces import AgentEvents
from chime_gateway.wire.realtime.error_codes import RATE_LIMIT
from chime_gateway.wire.realtime.events import (
    EXPECTED,
    AgentTranscript,
    AudioDone,
    CallerTranscript,
    Event,
    ItemAdded,
    ItemDeleted,
    ItemTruncated,
    McpBegan,
    McpCalled,
    McpOver,
    PartAdded,
    PlaybackStarted,
    PlaybackStopped,
    ResponseDone,
    ResponseStarted,
    ResponseText,
    ServiceError,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    TranscriptionFailed,
    TurnCommitted,
    Unrecognized,
    Usage,
)


class Hearing:
    """
    @param spend: called with the number of tokens that each response has used.
    @param let_wait: called with the seconds that a throttling service asks the gateway
        to wait.
    @ivar events: receives the reports of the session: the call.
    """

    __slots__ = (
        *("_commands", "_configuration", "_let_wait", "_mcp_calls", "_responses"),
        *("_spend", "events", "transcripts"),
    )

    def __init__(
        self,
        events: AgentEvents,
        commands: Commands,
        responses: Responses,
        configuration: Configuration,
        spend: Callable[[int], object],
        let_wait: Callable[[float], object],
    ) -> None:
        self.events = events
        self._commands = commands
        self._responses = responses
        self._configuration = configuration
        self._spend = spend
        self._let_wait = let_wait
        self._mcp_calls = McpCalls(responses.active, events)
        self.transcripts = Transcripts(commands, events)

    def hear(self, event: Event) -> None:
        _HANDLERS[type(event)](self, event)

    def tokens_came(self, usage: Usage) -> None:
        """Count the tokens of a response whose end is reported later."""
        self._spend(usage.total)
        self.events.tokens_used(asdict(usage))

    def refused(self, sent: SentCommand | None, event: ServiceError) -> None:
        """
        A command was refused, and the session continues.

        @param sent: the command; C{None}: the service does not say which.
        """
        self._note_throttling(event)
        sent = self._configuration.attributed(sent, event)
        if sent is None or sent.kind is Kind.RESPONSE:
            self._responses.was_refused(sent, event)
        elif sent.kind in (Kind.ITEM, Kind.RECALLED):
            say_instead(self._commands, sent)
        self.events.oddity_seen(event.code)

    # -- inside ------------------------------------------------------------------

    def _response_started(self, event: ResponseStarted) -> None:
        if not self.transcripts.started(event):
            self._responses.started(event)

    def _response_text(self, event: ResponseText) -> None:
        self.transcripts.text(event)
        self._responses.active.text_came(event.response_id, event.item_id)

    def _response_done(self, event: ResponseDone) -> None:
        self._spend(event.usage.total)
        self._note_throttling(event)
        if self.transcripts.done(event):
            # A service that makes one response at a time can now make the next one.
            self._responses.response_may_follow()
        else:
            self._responses.done(event)
            self._mcp_calls.report_results()

    def _note_throttling(self, event: ResponseDone | ServiceError) -> None:
        if event.cause == RATE_LIMIT and event.retry_seconds:
            self._let_wait(event.retry_seconds)

    def _turn_committed(self, event: TurnCommitted) -> None:
        transcription = self._configuration.profile.transcription
        if transcription is None or not transcription.is_by_the_model:
            return
        # Without the item's id, the transcript would look like an answer.
        if event.item_id:
            self.transcripts.write_down(
                self._configuration.dialect, event.item_id, transcription
            )

    def _item_added(self, event: ItemAdded) -> None:
        if not was_added(self._commands, event.item_id) and event.is_given:
            self._commands.answer(Kind.ITEM, event.call_id)

    def _transcription_failed(self, event: TranscriptionFailed) -> None:
        text = f"{event.code}: {event.message}"
        self.events.transcription_failed(event.item_id, "failed", text)

    def _speech_started(self, event: SpeechStarted) -> None:
        self.events.speech_started(event.item_id)
        self._responses.caller_began()

    def _speech_stopped(self, event: SpeechStopped) -> None:
        self.events.speech_stopped(event.item_id)
        self._responses.caller_stopped()

    def _tool_called(self, event: ToolCalled) -> None:
        self._responses.active.tool_called(event.response_id)
        self.events.tool_called(
            event.response_id, event.call_id, event.name, event.arguments
        )

    def _unrecognized(self, event: Unrecognized) -> None:
        if event.type.startswith("response.mcp_call"):
            # The service is calling a tool itself.
            self._responses.active.tool_called("")
        if event.type not in EXPECTED:
            self.events.oddity_seen(event.type)


_HANDLERS: Final[Mapping[type, Callable[[Hearing, Any], object]]] = {
    AudioDone: lambda s, e: s.events.agent_audio_done(e.item_id),
    PartAdded: lambda s, e: None,
    PlaybackStarted: lambda s, e: None,
    PlaybackStopped: lambda s, e: s._commands.answer(Kind.CLEAR),
    SpeechStarted: Hearing._speech_started,
    SpeechStopped: Hearing._speech_stopped,
    ResponseStarted: Hearing._response_started,
    ResponseDone: Hearing._response_done,
    AgentTranscript: lambda s, e: s.events.agent_said(e.item_id, e.text, e.final),
    CallerTranscript: lambda s, e: s.events.caller_said(e.item_id, e.text),
    TranscriptionFailed: Hearing._transcription_failed,
    TurnCommitted: Hearing._turn_committed,
    ItemAdded: Hearing._item_added,
    ItemDeleted: lambda s, e: s._commands.answer(Kind.DELETE, e.item_id),
    ItemTruncated: lambda s, e: s._commands.answer(Kind.TRUNCATE, e.item_id),
    ResponseText: Hearing._response_text,
    ToolCalled: Hearing._tool_called,
    McpBegan: lambda s, e: s._mcp_calls.began(e),
    McpOver: lambda s, e: s._mcp_calls.over(e),
    McpCalled: lambda s, e: s._mcp_calls.told(e),
    Unrecognized: Hearing._unrecognized,
}
