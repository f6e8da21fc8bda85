"""
The agent's session with Azure OpenAI Realtime.

It translates between the events of the protocol and the interface of a call.
L{chime_gateway.wire.realtime} reads and writes messages,
L{chime_gateway.agents.transports} carries audio, and
L{chime_gateway.agents.deployments} chooses the deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.agents.commands import Commands, Kind, SentCommand
from chime_gateway.agents.configuration import Configuration, UnsupportedSettings
from chime_gateway.agents.hearing import Hearing
from chime_gateway.agents.intake import Intake
from chime_gateway.agents.line.ignored_events import IGNORED_EVENTS
from chime_gateway.agents.line.recall import recall
from chime_gateway.agents.refusals import TRANSCRIPTION, refused_session
from chime_gateway.agents.responses.responses import Responses
from chime_gateway.agents.transports.in_socket import InSocket
from chime_gateway.agents.transports.transport import Transport
from chime_gateway.agents.websocket import EventSocket
from chime_gateway.audio import Codec
from chime_gateway.errors import BROKE_PROTOCOL, AgentUnavailable, RemoteProtocolError
from chime_gateway.history import History
from chime_gateway.interfaces import AgentEvents, AgentSession
from chime_gateway.net.lean_websocket import CLOSE_NORMAL
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.wire.realtime import commands, dialects
from chime_gateway.wire.realtime.commands import Command
from chime_gateway.wire.realtime.events import (
    AudioDelta,
    Event,
    ServiceError,
    SessionCreated,
    SessionUpdated,
    Usage,
)
from chime_gateway.wire.realtime.reader import READERS

CLOSE_PROTOCOL_ERROR: Final = 4002


class _SessionState(Enum):
    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    CONFIGURED = "configured"
    READY = "ready"
    CLOSED = "closed"


class AzureSession:
    """
    One session, from its handshake to its end.

    @param clock: for overdue answers and for retries.
    @param spend: called with the number of tokens that each response has used.
    @param let_wait: called with the seconds that a throttling service asks the gateway
        to wait.
    @param unsupported: what the deployment's model does not support.
    @param transport: of audio; C{None}: the WebSocket of the events.
    @ivar ready: fires with this object when audio may flow; fails with
        L{AgentUnavailable}.
    """

    _log = Logger()

    __slots__ = (
        *("_commands", "_configuration", "_events", "_hearing", "_intake"),
        *(
            "_active",
            "_receive",
            "_responses",
            "_socket",
            "_state",
            "_transport",
            "deployment",
        ),
        *("ready", "send_audio", "traits"),
    )

    def __init__(
        self,
        dialect: dialects.Dialect,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
        clock: IReactorTime,
        spend: Callable[[int], object] = lambda _: None,
        let_wait: Callable[[float], object] = lambda _: None,
        unsupported: UnsupportedSettings | None = None,
        transport: Transport | None = None,
    ) -> None:
        if transport is None:
            transport = InSocket(dialects.session_codec(dialect, leg_codec))
        self.deployment = ""
        self._transport = transport
        self.traits = transport.traits
        # Called for every frame, so bound directly to the transport.
        self.send_audio: Callable[[bytes], None] = transport.send_audio
        self.ready: Deferred[AgentSession] = Deferred(lambda _: self.close())
        self._events = events
        self._receive = READERS[dialect.name].receive
        self._intake = Intake(clock, self.traits.codec)
        self._state = _SessionState.CONNECTING
        self._socket: EventSocket | None = None
        self._commands = Commands(clock.seconds, self._overdue)
        self._responses = Responses(
            *(self._commands, events, clock, transport),
            is_interruptible=profile.interruptible,
        )
        self._active = self._responses.active
        self._configuration = Configuration(
            dialect,
            profile,
            self.traits.codec,
            self._commands,
            UnsupportedSettings(clock.seconds) if unsupported is None else unsupported,
        )
        self._hearing = Hearing(
            *(events, self._commands, self._responses, self._configuration),
            *(spend, let_wait),
        )
        transport.join(self)

    # -- from the socket -------------------------------------------------------

    def opened(self, socket: EventSocket) -> None:
        self._socket = socket
        if self._state is _SessionState.CLOSED:
            socket.close(CLOSE_NORMAL, "")
        else:
            self._commands.socket = socket
            self._transport.opened(socket)

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if self._state is _SessionState.CLOSED:
            return
        try:
            event = self._receive(payload, is_binary)
            if type(event) is AudioDelta:
                self._intake.audio(event)
            else:
                self._intake.message(event, len(payload))
        except RemoteProtocolError as exc:
            self._give_up(f"{BROKE_PROTOCOL}: {exc}", CLOSE_PROTOCOL_ERROR)
            return
        if type(event) is not AudioDelta:
            self._transport.event_came(event)
        elif self._active.audio_came(event):
            self._events.agent_audio(
                event.response_id, event.item_id, event.content_index, event.audio
            )
        else:
            self._events.audio_dropped("stale", len(event.audio))

    def frame_came(self) -> bool:
        """Count a WebSocket frame that is not a message; C{False}: too many."""
        is_good = self._intake.frame()
        if not is_good:
            self._lose(AgentUnavailable(f"{BROKE_PROTOCOL}: too many frames"))
        return is_good

    def socket_closed(self, reason: str) -> None:
        self._lose(AgentUnavailable(reason))
        # The socket refers to this object, and so does the Deferred's result: break
        # both cycles, or only the garbage collector frees them.
        self._socket = None
        self.ready = Deferred()

    def socket_stalled(self) -> None:
        self._lose(AgentUnavailable("the agent's service stopped reading"))

    def handshake_failed(self, why: AgentUnavailable) -> None:
        """Fail L{ready}; ignored once the session is ready."""
        if self._state is not _SessionState.READY:
            self._lose(why)

    # -- TransportUser -----------------------------------------------------------

    def handle(self, event: Event) -> None:
        if self._state is _SessionState.CLOSED:
            return
        own = _OWN.get(type(event))
        if own is None:
            self._hearing.hear(event)
        else:
            own(self, event)
        if self._state is _SessionState.READY:
            self._events.agent_active()

    def audio_came(self, audio: AudioDelta) -> None:
        if self._state is _SessionState.READY and self._active.audio_came(audio):
            self._events.agent_audio(
                audio.response_id, audio.item_id, audio.content_index, audio.audio
            )
        else:
            self._events.audio_dropped("stale", len(audio.audio))

    def audio_dropped(self, reason: str, byte_count: int) -> None:
        self._events.audio_dropped(reason, byte_count)

    def audio_ready(self) -> None:
        if self._state is _SessionState.CONFIGURED:
            self._begin()

    def audio_lost(self, why: AgentUnavailable) -> None:
        self._lose(why)

    def tokens_came(self, usage: Usage) -> None:
        self._hearing.tokens_came(usage)

    def ask(self, kind: Kind, command: Command, about: str) -> None:
        self._commands.ask(kind, command, about)

    # -- AgentSession ------------------------------------------------------------

    def recall(self, history: History) -> None:
        recall(self._configuration, self._commands, history)

    def probe(self) -> None:
        self._transport.probe(self._configuration.ask_nothing)

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
        """Report nothing more: the call has another session."""
        self._events = self._hearing.events = IGNORED_EVENTS

    def close(self) -> None:
        self._state = _SessionState.CLOSED
        self._commands.socket = None
        self._responses.close()
        self._transport.close()
        if self._socket is not None:
            self._socket.close(CLOSE_NORMAL, "")

    # -- inside --------------------------------------------------------------------

    def _session_created(self, event: SessionCreated) -> None:
        traits = evolve(self.traits, expires_at=event.expires_at)
        self.traits = self._transport.traits = traits
        if self._state is _SessionState.CONNECTING:
            self._state = _SessionState.CONFIGURING
            self._configuration.ask()

    def _session_updated(self, event: SessionUpdated) -> None:
        self._configuration.taken()
        if self._state is _SessionState.CONFIGURING:
            self._state = _SessionState.CONFIGURED
            if self._transport.is_ready:
                self._begin()

    def _begin(self) -> None:
        """Start: the settings are in force, and audio has a path."""
        self._state = _SessionState.READY
        self.ready.callback(self)
        for member, text in self._configuration.refused.items():
            self._report_refused(member, text)

    def _overdue(self, sent: SentCommand) -> None:
        self._events.oddity_seen(f"unanswered.{sent.kind.name.lower()}")

    def _report_refused(self, member: str, text: str) -> None:
        if self._state is _SessionState.READY and member == TRANSCRIPTION:
            self._events.transcription_failed("", "refused", text)
        elif self._state is _SessionState.READY:
            self._events.oddity_seen(f"refused.{member}")

    def _service_error(self, event: ServiceError) -> None:
        text = f"{event.code}: {event.message}"
        sent = self._commands.refuse(event.command_id)
        if self._state is _SessionState.CONNECTING:
            self._lose(refused_session(event, text))
        elif event.fatal and self._state is not _SessionState.CONFIGURING:
            self._give_up(text, CLOSE_NORMAL)
        elif sent is not None and sent.kind is Kind.TRANSCRIPT:
            self._events.transcription_failed(sent.about, "failed", text)
        elif event.benign:
            if event.code == "conversation_already_has_active_response":
                self._responses.was_blocked(sent)
            self._events.oddity_seen(event.code)
        elif self._state is _SessionState.CONFIGURING:
            self._configuration.attributed(sent, event)
            why = self._configuration.was_refused(event, text)
            if why is not None:
                self._lose(why)
        else:
            self._hearing.refused(sent, event)
            if self._intake.may_log():
                self._log.warn("the agent's service reports {error}", error=text[:300])

    def _give_up(self, reason: str, close_code: int) -> None:
        if self._socket is not None:
            self._socket.close(close_code, "")
        self._lose(AgentUnavailable(reason))

    def _lose(self, why: AgentUnavailable) -> None:
        """The session has ended unexpectedly; reported once."""
        state, self._state = self._state, _SessionState.CLOSED
        self._commands.socket = None
        try:
            self._responses.close()
            self._transport.close()
            if state is not _SessionState.CLOSED and self._socket is not None:
                self._socket.close(CLOSE_NORMAL, "")
        finally:
            # Nothing else reports this to the call.
            if state is _SessionState.READY:
                try:
                    self._events.agent_lost(str(why))
                except Exception:
                    self._log.failure("could not report a lost session; trying again")
                    self._events.agent_lost(str(why))
            elif state is not _SessionState.CLOSED:
                self.ready.errback(why)


#: The events that begin and end a session; its L{Hearing} handles all others.
_OWN: Final[Mapping[type, Callable[[AzureSession, Any], object]]] = {
    SessionCreated: AzureSession._session_created,
    SessionUpdated: AzureSession._session_updated,
    ServiceError: AzureSession._service_error,
}
