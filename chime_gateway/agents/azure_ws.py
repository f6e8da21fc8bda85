"""
The agent's session on Azure OpenAI Realtime, over WebSocket.

It moves between the protocol's events and the seam of a call.  What messages
look like is in L{chime_gateway.wire.realtime}; which deployment to try is the
fleet's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from attrs import asdict
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chime_gateway.agents.realtime_socket import RealtimeProtocol
from chime_gateway.errors import AgentUnavailable, RemoteProtocolError
from chime_gateway.frames import Codec
from chime_gateway.interfaces import AgentEvents, AgentSession
from chime_gateway.net.websocket import CLOSE_NORMAL
from chime_gateway.profiles import AgentProfile
from chime_gateway.settings import DeploymentSettings
from chime_gateway.wire import realtime
from chime_gateway.wire.realtime_events import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    McpCalled,
    ResponseDone,
    ResponseStarted,
    ServiceError,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    Unrecognized,
)

CLOSE_PROTOCOL_ERROR: Final = 4002


def session_url(deployment: DeploymentSettings) -> str:
    """The WebSocket URL of a deployment in the dialect it is set to."""
    parts = urlsplit(deployment.endpoint)
    scheme = "wss" if parts.scheme == "https" else "ws"
    base = parts.path.rstrip("/").removesuffix("/openai/v1").removesuffix("/openai")
    name = quote(deployment.deployment, safe="")
    if deployment.api_version:
        path = f"{base}/openai/realtime"
        version = quote(deployment.api_version, safe="")
        query = f"api-version={version}&deployment={name}"
    else:
        path = f"{base}/openai/v1/realtime"
        query = f"model={name}"
    return urlunsplit((scheme, parts.netloc, path, query, ""))


#: The agent speaks to what it knows, without orders for this once.
_PLAIN_RESPONSE: Final = realtime.create_response()


class _State(Enum):
    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    READY = "ready"
    CLOSED = "closed"


class AzureSession:
    """
    One session, from its handshake to its end.

    @ivar ready: fires with this object when audio may flow; fails with
        L{AgentUnavailable}.
    @ivar expires_at: Unix seconds, as the service says.
    """

    _log = Logger()

    def __init__(
        self,
        dialect: realtime.Dialect,
        profile: AgentProfile,
        leg_codec: Codec,
        events: AgentEvents,
    ) -> None:
        self.codec = realtime.session_codec(dialect, leg_codec)
        self.ready: Deferred[AgentSession] = Deferred(lambda _: self.close())
        self.expires_at: int | None = None
        self._dialect = dialect
        self._profile = profile
        self._events = events
        self._receive = _READERS[dialect.name].receive
        self._state = _State.CONNECTING
        self._socket: RealtimeProtocol | None = None
        self._active: set[str] = set()  # responses that are not done
        self._create_sent: bytes | None = None
        self._create_wanted: bytes | None = None

    # -- from the socket -------------------------------------------------------

    def opened(self, socket: RealtimeProtocol) -> None:
        self._socket = socket
        if self._state is _State.CLOSED:
            socket.close(CLOSE_NORMAL, "")

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if self._state is _State.CLOSED:
            return
        try:
            event = self._receive(payload, is_binary)
        except RemoteProtocolError as exc:
            self._give_up(f"the agent broke the protocol: {exc}", CLOSE_PROTOCOL_ERROR)
            return
        events = self._events
        if type(event) is AudioDelta:
            events.agent_audio(
                event.response_id, event.item_id, event.content_index, event.audio
            )
            return
        _HANDLERS[type(event)](self, event)
        if self._state is _State.READY:
            events.agent_active()

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

    def send_audio(self, audio: bytes) -> None:
        if self._socket is not None and not self._socket.send_message(
            realtime.append_audio(audio)
        ):
            self._events.audio_dropped("agent_slow", len(audio))

    def truncate(self, item_id: str, content_index: int, played_ms: int) -> None:
        self._send(realtime.truncate_item(item_id, content_index, played_ms))

    def say(self, instructions: str) -> None:
        if self._active:
            self._send(realtime.cancel_response())
        self._create(realtime.create_response(instructions))

    def interject(self, instructions: str) -> None:
        self._create(realtime.create_aside(self._dialect, instructions))

    def tell(self, text: str, *, is_order: bool = False) -> None:
        self._send(realtime.create_text(text, "system" if is_order else "user"))

    def respond(self) -> None:
        self._create(_PLAIN_RESPONSE)

    def cancel(self) -> None:
        self._create_wanted = None
        if self._active:
            self._send(realtime.cancel_response())

    def tool_result(self, call_id: str, output: str) -> None:
        self._send(realtime.create_tool_output(call_id, output))

    def close(self) -> None:
        self._state = _State.CLOSED
        if self._socket is not None:
            self._socket.close(CLOSE_NORMAL, "")

    # -- inside --------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        if self._socket is not None:
            self._socket.send_message(message)

    def _create(self, create: bytes) -> None:
        """One response at a time: the next waits until the active one is done."""
        if not self._active and self._create_sent is None:
            self._create_sent = create
            self._send(create)
        else:
            self._create_wanted = create

    def _session_created(self, event: SessionCreated) -> None:
        self.expires_at = event.expires_at
        if self._state is _State.CONNECTING:
            self._state = _State.CONFIGURING
            self._send(
                realtime.update_session(self._dialect, self._profile, self.codec)
            )

    def _session_updated(self, event: SessionUpdated) -> None:
        if self._state is _State.CONFIGURING:
            self._state = _State.READY
            self.ready.callback(self)

    def _service_error(self, event: ServiceError) -> None:
        text = f"{event.code}: {event.message}"
        if event.benign:
            if event.code == "conversation_already_has_active_response":
                # The VAD was first; ours follows when that one is done, unless
                # something newer waits already.
                self._create_wanted = self._create_wanted or self._create_sent
                self._create_sent = None
            self._events.oddity_seen(event.code)
        elif self._state is _State.CONFIGURING:
            # Nothing of our settings is in force, and they will not get better.
            is_theirs = event.code == "server_error"
            why = AgentUnavailable(
                f"the service refused the session's settings: {text}",
                misconfigured=not is_theirs,
            )
            self._lose(why)
        elif event.fatal:
            self._give_up(text, CLOSE_NORMAL)
        else:
            self._create_sent = None
            self._events.oddity_seen(event.code)
            self._log.warn("the agent's service reports {error}", error=text)

    def _response_started(self, event: ResponseStarted) -> None:
        self._active.add(event.response_id)
        self._create_sent = None
        self._events.response_started(event.response_id)

    def _response_done(self, event: ResponseDone) -> None:
        self._active.discard(event.response_id)
        tokens = asdict(event.usage)
        wanted, self._create_wanted = self._create_wanted, None
        self._events.response_done(
            event.response_id, event.status, event.detail, tokens
        )
        if wanted is None or self._state is not _State.READY:
            return
        if self._create_wanted is not None:
            return  # something newer was asked for just now
        if self._create_sent is not None and wanted == _PLAIN_RESPONSE:
            return  # the one just asked for knows all that this one would
        self._create(wanted)

    def _audio_done(self, event: AudioDone) -> None:
        self._events.agent_audio_done(event.item_id)

    def _speech_started(self, event: SpeechStarted) -> None:
        self._events.speech_started(event.item_id)

    def _speech_stopped(self, event: SpeechStopped) -> None:
        self._events.speech_stopped(event.item_id)

    def _caller_transcript(self, event: CallerTranscript) -> None:
        self._events.caller_said(event.item_id, event.text)

    def _tool_called(self, event: ToolCalled) -> None:
        self._events.tool_called(
            event.response_id, event.call_id, event.name, event.arguments
        )

    def _mcp_called(self, event: McpCalled) -> None:
        self._events.mcp_called(event.name, event.fault)

    def _agent_transcript(self, event: AgentTranscript) -> None:
        self._events.agent_said(event.item_id, event.text, event.final)

    def _unrecognized(self, event: Unrecognized) -> None:
        if event.type not in _EXPECTED:
            self._events.oddity_seen(event.type)

    def _give_up(self, reason: str, close_code: int) -> None:
        if self._socket is not None:
            self._socket.close(close_code, "")
        self._lose(AgentUnavailable(reason))

    def _lose(self, why: AgentUnavailable) -> None:
        """The end that we did not ask for; told once."""
        state, self._state = self._state, _State.CLOSED
        if state is _State.CLOSED:
            return
        if self._socket is not None:
            self._socket.close(CLOSE_NORMAL, "")
        if state is _State.READY:
            self._events.agent_lost(str(why))
        else:
            self.ready.errback(why)


_READERS: Final[Mapping[str, realtime.RealtimeReader]] = {
    dialect.name: realtime.RealtimeReader(dialect)
    for dialect in (realtime.GA, realtime.PREVIEW)
}

_HANDLERS: Final[Mapping[type, Callable[[AzureSession, Any], None]]] = {
    SessionCreated: AzureSession._session_created,
    SessionUpdated: AzureSession._session_updated,
    ServiceError: AzureSession._service_error,
    AudioDone: AzureSession._audio_done,
    SpeechStarted: AzureSession._speech_started,
    SpeechStopped: AzureSession._speech_stopped,
    ResponseStarted: AzureSession._response_started,
    ResponseDone: AzureSession._response_done,
    AgentTranscript: AzureSession._agent_transcript,
    CallerTranscript: AzureSession._caller_transcript,
    ToolCalled: AzureSession._tool_called,
    McpCalled: AzureSession._mcp_called,
    Unrecognized: AzureSession._unrecognized,
}

#: Events that carry nothing a call needs; seen in every session.
_EXPECTED: Final = frozenset(
    {
        "conversation.created",
        "conversation.item.added",
        "conversation.item.created",
        "conversation.item.done",
        "conversation.item.deleted",
        "conversation.item.truncated",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.failed",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered",
        "rate_limits.updated",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "mcp_list_tools.completed",
        "mcp_list_tools.in_progress",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_item.added",
        "response.output_item.done",
    }
)
