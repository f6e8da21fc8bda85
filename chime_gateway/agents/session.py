"""
The agent's session on Azure OpenAI Realtime, over WebSocket.

It moves between the protocol's events and the seam of a call.  What messages
look like is in L{chime_gateway.wire.realtime}; which deployment is tried is chosen
in L{chime_gateway.agents.deployments}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.agents.commands import Commands, Kind
from chime_gateway.agents.configuration import Configuration, Lacks
from chime_gateway.agents.intake import Intake
from chime_gateway.agents.line.nobody import NOBODY
from chime_gateway.agents.line.recall import recall, say_instead, was_added
from chime_gateway.agents.mcp_calls import McpCalls
from chime_gateway.agents.refusals import TRANSCRIPTION, refused_session
from chime_gateway.agents.responses.responses import Responses
from chime_gateway.agents.transcripts import Transcripts
from chime_gateway.agents.websocket import RealtimeProtocol
from chime_gateway.audio import Codec
from chime_gateway.errors import BROKE_PROTOCOL, AgentUnavailable, RemoteProtocolError
from chime_gateway.history import History
from chime_gateway.interfaces import AgentEvents, AgentSession, AgentTraits
from chime_gateway.net.lean_websocket import CLOSE_NORMAL
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.wire.realtime import commands, dialects
from chime_gateway.wire.realtime.error_codes import RATE_LIMIT
from chime_gateway.wire.realtime.events import (
    EXPECTED,
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    ItemAdded,
    ItemDeleted,
    ItemTruncated,
    McpBegan,
    McpCalled,
    McpOver,
    ResponseDone,
    ResponseStarted,
    ResponseText,
    ServiceError,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    TranscriptionFailed,
    TurnCommitted,
    Unrecognized,
)
from chime_gateway.wire.realtime.reader import READERS

CLOSE_PROTOCOL_ERROR: Final = 4002

#: The longest session by the documents; what one says itself (C{expires_at}) counts.
MOST_SECONDS: Final = 3600.0


class _State(Enum):
    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    READY = "ready"
    CLOSED = "closed"


class AzureSession:
    """
    One session, from its handshake to its end.

    @param clock: for what is not answered, and what is to be asked again.
    @param spend: is told of the tokens that each response has taken.
    @param let_wait: is told of the seconds after which a service that has too much to
        do wants to be asked again.
    @param lacks: what the deployment's model does not know.
    @ivar ready: fires with this object when audio may flow; fails with
        L{AgentUnavailable}.
    """

    _log = Logger()
    deployment = ""

    def __init__(
        self,
        dialect: dialects.Dialect,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        clock: IReactorTime,
        spend: Callable[[int], object] = lambda _: None,
        let_wait: Callable[[float], object] = lambda _: None,
        lacks: Lacks | None = None,
    ) -> None:
        self.traits = AgentTraits(
            codec=dialects.session_codec(dialect, leg_codec), most_seconds=MOST_SECONDS
        )
        self.ready: Deferred[AgentSession] = Deferred(lambda _: self.close())
        self._dialect = dialect
        self._events = events
        self._receive = READERS[dialect.name].receive
        self._intake = Intake(clock, self.traits.codec)
        self._state = _State.CONNECTING
        self._socket: RealtimeProtocol | None = None
        self._commands = Commands(
            clock.seconds,
            lambda asked: self._events.oddity_seen(
                f"unanswered.{asked.kind.name.lower()}"
            ),
        )
        self._responses = Responses(
            self._commands, events, clock, is_interruptible=profile.interruptible
        )
        self._mcp_calls = McpCalls(self._responses.making, events)
        self._transcripts = Transcripts(self._commands, events)
        self._spend = spend
        self._let_wait = let_wait
        self._configuration = Configuration(
            dialect,
            profile,
            self.traits.codec,
            self._commands,
            Lacks(clock.seconds) if lacks is None else lacks,
        )

    # -- from the socket -------------------------------------------------------

    def opened(self, socket: RealtimeProtocol) -> None:
        self._socket = socket
        if self._state is _State.CLOSED:
            socket.close(CLOSE_NORMAL, "")
        else:
            self._commands.socket = socket

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if self._state is _State.CLOSED:
            return
        try:
            event = self._receive(payload, is_binary)
            self._intake.message(event, len(payload))
        except RemoteProtocolError as exc:
            self._give_up(f"{BROKE_PROTOCOL}: {exc}", CLOSE_PROTOCOL_ERROR)
            return
        events = self._events
        if type(event) is AudioDelta:
            if self._responses.making.audio_came(event):
                events.agent_audio(
                    event.response_id, event.item_id, event.content_index, event.audio
                )
            else:
                events.audio_dropped("stale", len(event.audio))
            return
        _HANDLERS[type(event)](self, event)
        if self._state is _State.READY:
            events.agent_active()

    def frame_came(self) -> bool:
        """One that is no message; C{False}: one too many."""
        is_good = self._intake.frame()
        if not is_good:
            self._lose(AgentUnavailable(f"{BROKE_PROTOCOL}: too many frames"))
        return is_good

    def socket_closed(self, reason: str) -> None:
        self._lose(AgentUnavailable(reason))
        # The socket knows us, and the Deferred's result is ourselves: let go, or
        # only the garbage collector frees them.
        self._socket = None
        self.ready = Deferred()

    def socket_stalled(self) -> None:
        self._lose(AgentUnavailable("the agent's service stopped reading"))

    def handshake_failed(self, why: AgentUnavailable) -> None:
        """Before L{ready} only; later it says nothing new."""
        if self._state is not _State.READY:
            self._lose(why)

    # -- AgentSession ------------------------------------------------------------

    def recall(self, history: History) -> None:
        recall(self._configuration, self._commands, history)

    def probe(self) -> None:
        self._configuration.ask_nothing()

    def send_audio(self, audio: bytes) -> None:
        if self._socket is not None and not self._socket.send_message(
            commands.append_audio(audio)
        ):
            self._events.audio_dropped("agent_slow", len(audio))

    def truncate(self, item_id: str, content_index: int, played_ms: int) -> None:
        command = commands.truncate_item(item_id, content_index, played_ms)
        self._commands.ask(Kind.TRUNCATE, command, item_id)
        if played_ms == 0:
            self._responses.unheard(item_id, content_index)

    def say(self, instructions: str, *, is_last: bool = False) -> None:
        self._responses.say(self._configuration.words(instructions), is_last=is_last)

    def interject(self, instructions: str) -> None:
        self._responses.interject(self._configuration.aside(instructions))

    def tell(self, text: str, *, is_order: bool = False) -> None:
        role = "system" if is_order else "user"
        self._commands.ask(Kind.ITEM, commands.create_text(text, role))

    def respond(self) -> None:
        self._responses.respond()

    def cancel(self) -> None:
        self._responses.cancel()

    def tool_result(self, call_id: str, output: str) -> None:
        self._commands.ask(
            Kind.ITEM, commands.create_tool_output(call_id, output), call_id
        )

    def forget_call(self) -> None:
        """The call has another session, and is told nothing more of this one."""
        self._events = NOBODY

    def close(self) -> None:
        self._state = _State.CLOSED
        self._commands.socket = None
        self._responses.close()
        if self._socket is not None:
            self._socket.close(CLOSE_NORMAL, "")

    # -- inside --------------------------------------------------------------------

    def _session_created(self, event: SessionCreated) -> None:
        self.traits = evolve(self.traits, expires_at=event.expires_at)
        if self._state is _State.CONNECTING:
            self._state = _State.CONFIGURING
            self._configuration.ask()

    def _session_updated(self, event: SessionUpdated) -> None:
        self._configuration.taken()
        if self._state is _State.CONFIGURING:
            self._state = _State.READY
            self.ready.callback(self)
            for member, text in self._configuration.refused.items():
                self._tell_refused(member, text)

    def _tell_refused(self, member: str, text: str) -> None:
        if self._state is _State.READY and member == TRANSCRIPTION:
            self._events.transcription_failed("", "refused", text)
        elif self._state is _State.READY:
            self._events.oddity_seen(f"refused.{member}")

    def _service_error(self, event: ServiceError) -> None:
        text = f"{event.code}: {event.message}"
        asked = self._commands.refuse(event.command_id)
        if self._state is _State.CONNECTING:
            self._lose(refused_session(event, text))
        elif event.fatal and self._state is not _State.CONFIGURING:
            self._give_up(text, CLOSE_NORMAL)
        elif asked is not None and asked.kind is Kind.TRANSCRIPT:
            self._events.transcription_failed(asked.about, "failed", text)
        elif event.benign:
            if event.code == "conversation_already_has_active_response":
                self._responses.was_second(asked)
            self._events.oddity_seen(event.code)
        elif self._state is _State.CONFIGURING:
            self._configuration.attributed(asked, event)
            why = self._configuration.was_refused(event, text)
            if why is not None:
                self._lose(why)
        else:
            self._note_throttling(event)
            asked = self._configuration.attributed(asked, event)
            if asked is None or asked.kind is Kind.RESPONSE:
                self._responses.was_refused(asked, event)
            elif asked.kind in (Kind.ITEM, Kind.RECALLED):
                say_instead(self._commands, asked)
            self._events.oddity_seen(event.code)
            if self._intake.may_log():
                self._log.warn("the agent's service reports {error}", error=text[:300])

    def _response_started(self, event: ResponseStarted) -> None:
        if not self._transcripts.started(event):
            self._responses.started(event)

    def _response_text(self, event: ResponseText) -> None:
        self._transcripts.text(event)
        self._responses.making.text_came(event.response_id, event.item_id)

    def _response_done(self, event: ResponseDone) -> None:
        self._spend(event.usage.total)
        self._note_throttling(event)
        if self._transcripts.done(event):
            # Where a service makes one response at a time, it was in the way.
            self._responses.way_is_free()
        else:
            self._responses.done(event)
            self._mcp_calls.tell_results()

    def _note_throttling(self, event: ResponseDone | ServiceError) -> None:
        if event.cause == RATE_LIMIT and event.retry_seconds:
            self._let_wait(event.retry_seconds)

    def _turn_committed(self, event: TurnCommitted) -> None:
        transcription = self._configuration.profile.transcription
        if transcription is None or not transcription.is_by_the_model:
            return
        # Without an item's name, the transcript could not be told from an answer.
        if event.item_id:
            self._transcripts.write_down(self._dialect, event.item_id, transcription)

    def _item_added(self, event: ItemAdded) -> None:
        if not was_added(self._commands, event.item_id) and event.is_given:
            self._commands.answer(Kind.ITEM, event.call_id)

    def _transcription_failed(self, event: TranscriptionFailed) -> None:
        text = f"{event.code}: {event.message}"
        self._events.transcription_failed(event.item_id, "failed", text)

    def _speech_started(self, event: SpeechStarted) -> None:
        self._events.speech_started(event.item_id)
        self._responses.caller_began()

    def _speech_stopped(self, event: SpeechStopped) -> None:
        self._events.speech_stopped(event.item_id)
        self._responses.caller_stopped()

    def _tool_called(self, event: ToolCalled) -> None:
        self._responses.making.tool_called(event.response_id)
        self._events.tool_called(
            event.response_id, event.call_id, event.name, event.arguments
        )

    def _unrecognized(self, event: Unrecognized) -> None:
        if event.type.startswith("response.mcp_call"):
            # The service calls a tool itself.
            self._responses.making.tool_called("")
        if event.type not in EXPECTED:
            self._events.oddity_seen(event.type)

    def _give_up(self, reason: str, close_code: int) -> None:
        if self._socket is not None:
            self._socket.close(close_code, "")
        self._lose(AgentUnavailable(reason))

    def _lose(self, why: AgentUnavailable) -> None:
        """The end that we did not ask for; told once."""
        state, self._state = self._state, _State.CLOSED
        self._commands.socket = None
        try:
            self._responses.close()
            if state is not _State.CLOSED and self._socket is not None:
                self._socket.close(CLOSE_NORMAL, "")
        finally:
            # Nobody else tells the call.
            if state is _State.READY:
                try:
                    self._events.agent_lost(str(why))
                except Exception:
                    self._log.failure("a call was not told at once")
                    self._events.agent_lost(str(why))
            elif state is not _State.CLOSED:
                self.ready.errback(why)


_HANDLERS: Final[Mapping[type, Callable[[AzureSession, Any], object]]] = {
    SessionCreated: AzureSession._session_created,
    SessionUpdated: AzureSession._session_updated,
    ServiceError: AzureSession._service_error,
    AudioDone: lambda s, e: s._events.agent_audio_done(e.item_id),
    SpeechStarted: AzureSession._speech_started,
    SpeechStopped: AzureSession._speech_stopped,
    ResponseStarted: AzureSession._response_started,
    ResponseDone: AzureSession._response_done,
    AgentTranscript: lambda s, e: s._events.agent_said(e.item_id, e.text, e.final),
    CallerTranscript: lambda s, e: s._events.caller_said(e.item_id, e.text),
    TranscriptionFailed: AzureSession._transcription_failed,
    TurnCommitted: AzureSession._turn_committed,
    ItemAdded: AzureSession._item_added,
    ItemDeleted: lambda s, e: s._commands.answer(Kind.DELETE, e.item_id),
    ItemTruncated: lambda s, e: s._commands.answer(Kind.TRUNCATE, e.item_id),
    ResponseText: AzureSession._response_text,
    ToolCalled: AzureSession._tool_called,
    McpBegan: lambda s, e: s._mcp_calls.began(e),
    McpOver: lambda s, e: s._mcp_calls.over(e),
    McpCalled: lambda s, e: s._mcp_calls.told(e),
    Unrecognized: AzureSession._unrecognized,
}
