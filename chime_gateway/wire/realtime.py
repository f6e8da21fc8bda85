"""
Azure OpenAI Realtime, sans I/O: messages in, events out; commands in, bytes out.

The GA protocol and the preview dialect (which Voice Live shares) differ in the
names of some events and in where a session keeps its audio settings, so a
L{Dialect} is data.  Names in this module are GA's.

Nothing here opens a socket, reads a clock, decides when to speak, or knows what
became of the audio.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from attrs import frozen

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.frames import L16_24000, PCMA, PCMU, Codec
from chime_gateway.profiles import AgentProfile
from chime_gateway.transcribers import Transcription
from chime_gateway.wire.realtime_events import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    Event,
    ItemAdded,
    ItemTruncated,
    McpCalled,
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
    Usage,
)

#: A delta is at most some hundred ms of audio and C{session.updated} some tens
#: of KB of instructions and tools; far above that is a fault.
MAX_EVENT_BYTES: Final = 1 << 22


#: Both sides may act at the same moment; the loser is told and goes on.
BENIGN_ERRORS: Final = frozenset(
    {
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "item_retrieve_invalid_item_id",
        "item_create_duplicate_item_id",
    }
)

FATAL_ERRORS: Final = frozenset(
    {
        "session_expired",
        "insufficient_quota",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
    }
)

#: The code of this one is not documented, its wording is: our count of played
#: audio and the service's count of generated audio may differ by a rounding.
_BENIGN_TEXT: Final = "is already shorter than"


# --- dialects ---------------------------------------------------------------


@frozen
class Dialect:
    """
    What differs between the two forms of the protocol.

    @ivar renamed: event name on the wire -> GA's name.
    @ivar formats: codec -> what a session calls it.
    @ivar session: the settings of a session, in this dialect's shape.
    @ivar modalities: of what is said; C{modalities_key} is how that is asked for.
    @ivar transcription_fields: those of a transcription that it knows.
    """

    name: str
    renamed: Mapping[str, str]
    formats: Mapping[Codec, object]
    session: Callable[[AgentProfile, object], dict[str, Any]]
    modalities_key: str
    modalities: tuple[str, ...]
    transcription_fields: frozenset[str]


def _turn_detection(profile: AgentProfile) -> dict[str, Any]:
    return {
        **profile.turn_detection,
        "create_response": True,
        "interrupt_response": profile.interruptible,
    }


def _transcription(profile: AgentProfile, dialect: Dialect) -> dict[str, object] | None:
    transcription = profile.transcription
    if transcription is None or transcription.is_by_the_model:
        return None
    fields = transcription.fields()
    return {
        name: value
        for name, value in fields.items()
        if name in dialect.transcription_fields
    }


def _tools(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Left out where there are none: not every model has tools."""
    return {"tools": tools, "tool_choice": "auto"} if tools else {}


def _functions(profile: AgentProfile) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "name": function.name,
            "description": function.description,
            "parameters": dict(function.parameters),
        }
        for function in profile.functions
    ]


def _mcp_servers(profile: AgentProfile) -> list[dict[str, Any]]:
    """Nobody is there who could approve of a call, so none is asked for."""
    return [
        {
            "type": "mcp",
            "server_label": server.name,
            "server_url": server.url,
            "require_approval": "never",
            **(
                {"server_description": server.description} if server.description else {}
            ),
            **({"authorization": server.authorization} if server.authorization else {}),
            **(
                {"allowed_tools": list(server.allowed_tools)}
                if server.allowed_tools
                else {}
            ),
        }
        for server in profile.mcp_servers
    ]


def _noise_reduction(profile: AgentProfile) -> dict[str, str] | None:
    return {"type": profile.noise_reduction} if profile.noise_reduction else None


def _ga_session(profile: AgentProfile, audio_format: object) -> dict[str, Any]:
    turn_detection = _turn_detection(profile)
    if profile.idle_prompt_seconds is not None:
        turn_detection["idle_timeout_ms"] = round(profile.idle_prompt_seconds * 1000)
    output: dict[str, Any] = {"format": audio_format, "voice": profile.voice}
    if profile.speed is not None:
        output["speed"] = profile.speed
    more = _tools([*_functions(profile), *_mcp_servers(profile)])
    if profile.reasoning:
        more["reasoning"] = {"effort": profile.reasoning}
    return {
        "type": "realtime",
        "output_modalities": list(GA.modalities),
        "instructions": profile.instructions,
        "max_output_tokens": profile.max_output_tokens or "inf",
        "audio": {
            "input": {
                "format": audio_format,
                "noise_reduction": _noise_reduction(profile),
                "transcription": _transcription(profile, GA),
                "turn_detection": turn_detection,
            },
            "output": output,
        },
        **more,
    }


def _preview_session(profile: AgentProfile, audio_format: object) -> dict[str, Any]:
    return {
        "modalities": list(PREVIEW.modalities),
        "instructions": profile.instructions,
        "max_response_output_tokens": profile.max_output_tokens or "inf",
        "voice": profile.voice,
        "input_audio_format": audio_format,
        "output_audio_format": audio_format,
        "input_audio_noise_reduction": _noise_reduction(profile),
        "input_audio_transcription": _transcription(profile, PREVIEW),
        "turn_detection": _turn_detection(profile),
        **({"speed": profile.speed} if profile.speed is not None else {}),
        **_tools(_functions(profile)),
    }


GA: Final = Dialect(
    name="ga",
    renamed={},
    formats={
        PCMU: {"type": "audio/pcmu"},
        PCMA: {"type": "audio/pcma"},
        L16_24000: {"type": "audio/pcm", "rate": 24000},
    },
    session=_ga_session,
    modalities_key="output_modalities",
    modalities=("audio",),
    transcription_fields=frozenset(
        {"model", "language", "languages", "prompt", "keywords", "delay"}
    ),
)

PREVIEW: Final = Dialect(
    name="preview",
    renamed={
        "response.audio.delta": "response.output_audio.delta",
        "response.audio.done": "response.output_audio.done",
        "response.audio_transcript.delta": "response.output_audio_transcript.delta",
        "response.audio_transcript.done": "response.output_audio_transcript.done",
        "response.text.delta": "response.output_text.delta",
        "response.text.done": "response.output_text.done",
        "conversation.item.created": "conversation.item.added",
    },
    formats={PCMU: "g711_ulaw", PCMA: "g711_alaw", L16_24000: "pcm16"},
    session=_preview_session,
    modalities_key="modalities",
    # Azure's preview refuses ["audio"] alone.
    modalities=("audio", "text"),
    transcription_fields=frozenset({"model", "language", "prompt"}),
)


# --- messages from the service ----------------------------------------------


class _Head(msgspec.Struct):
    type: str


class _Session(msgspec.Struct):
    id: str = ""
    expires_at: int | None = None


class _SessionEvent(msgspec.Struct):
    session: _Session


class _Delta(msgspec.Struct):
    delta: str
    item_id: str = ""
    response_id: str = ""
    content_index: int = 0


class _Item(msgspec.Struct):
    item_id: str


class _Start(msgspec.Struct):
    audio_start_ms: int = 0
    item_id: str = ""


class _Stop(msgspec.Struct):
    audio_end_ms: int = 0
    item_id: str = ""


class _TokenDetails(msgspec.Struct):
    audio_tokens: int | None = None
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _TokenDetails | None = None
    output_token_details: _TokenDetails | None = None


class _Error(msgspec.Struct):
    message: str | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    event_id: str | None = None


class _StatusDetails(msgspec.Struct):
    reason: str | None = None
    error: _Error | None = None


class _Response(msgspec.Struct):
    id: str = ""
    status: str | None = None
    status_details: _StatusDetails | None = None
    usage: _Usage | None = None
    metadata: dict[str, Any] | None = None


class _ResponseEvent(msgspec.Struct):
    response: _Response


class _Transcript(msgspec.Struct):
    item_id: str
    transcript: str


class _TranscriptionFailed(msgspec.Struct):
    item_id: str = ""
    error: _Error | None = None


class _Text(msgspec.Struct):
    response_id: str
    text: str


class _Content(msgspec.Struct):
    type: str = ""


class _ConversationItem(msgspec.Struct):
    id: str = ""
    type: str = ""
    call_id: str | None = None
    content: list[_Content] | None = None


class _ConversationItemEvent(msgspec.Struct):
    item: _ConversationItem


class _ToolCall(msgspec.Struct):
    call_id: str
    arguments: str
    name: str = ""
    response_id: str = ""


class _OutputItem(msgspec.Struct):
    type: str = ""
    name: str = ""
    server_label: str = ""
    error: msgspec.Raw = msgspec.Raw(b"null")


class _OutputItemEvent(msgspec.Struct):
    item: _OutputItem


class _McpListFailed(msgspec.Struct):
    item_id: str = ""


class _ErrorEvent(msgspec.Struct):
    error: _Error


def _audio_delta(message: _Delta) -> Event:
    try:
        audio = binascii.a2b_base64(message.delta, strict_mode=True)
    except ValueError as exc:
        raise RemoteProtocolError(f"audio delta is not base64: {exc}") from exc
    return AudioDelta(
        message.response_id, message.item_id, message.content_index, audio
    )


def _usage(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage()
    into = usage.input_token_details or _TokenDetails()
    out = usage.output_token_details or _TokenDetails()
    return Usage(
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        into.audio_tokens or 0,
        out.audio_tokens or 0,
        into.cached_tokens or 0,
    )


def _response_done(message: _ResponseEvent) -> Event:
    response = message.response
    details = response.status_details or _StatusDetails()
    error = details.error or _Error()
    detail = error.code or error.message or error.type or details.reason or ""
    return ResponseDone(
        response.id, response.status or "completed", detail, _usage(response.usage)
    )


def _response_started(message: _ResponseEvent) -> Event:
    metadata = message.response.metadata or {}
    item_id = metadata.get(_TRANSCRIPT_OF)
    return ResponseStarted(
        message.response.id, item_id if isinstance(item_id, str) else ""
    )


def _transcription_failed(message: _TranscriptionFailed) -> Event:
    error = message.error or _Error()
    code = error.code or error.type or "unknown"
    return TranscriptionFailed(message.item_id, code, error.message or "")


def _item_added(message: _ConversationItemEvent) -> Event:
    item = message.item
    is_result = item.type == "function_call_output"
    is_text = any(part.type == "input_text" for part in item.content or ())
    call_id = item.call_id or "" if is_result else ""
    return ItemAdded(item.id, is_result or is_text, call_id)


def _output_item(message: _OutputItemEvent) -> Event:
    item = message.item
    if item.type != "mcp_call":
        return Unrecognized("response.output_item.done")
    fault = bytes(item.error)
    name = f"{item.server_label}.{item.name}"
    text = "" if fault == b"null" else fault.decode("utf-8", "replace")[:300]
    return McpCalled(name, text)


def _error(message: _ErrorEvent) -> Event:
    code = message.error.code or message.error.type or "unknown"
    text = message.error.message or ""
    return ServiceError(
        code=code,
        message=text,
        benign=code in BENIGN_ERRORS or _BENIGN_TEXT in text,
        fatal=code in FATAL_ERRORS,
        param=message.error.param or "",
        command_id=message.error.event_id or "",
    )


_T = TypeVar("_T")


def _parser(kind: type[_T], make: Callable[[_T], Event]) -> Callable[[bytes], Event]:
    decode = msgspec.json.Decoder(kind).decode
    return lambda payload: make(decode(payload))


_caller_transcript: Final = _parser(
    _Transcript, lambda m: CallerTranscript(m.item_id, m.transcript)
)

_decode_head: Final = msgspec.json.Decoder(_Head).decode

_PARSERS: Final[Mapping[str, Callable[[bytes], Event]]] = {
    "response.output_audio.delta": _parser(_Delta, _audio_delta),
    "response.output_audio.done": _parser(_Item, lambda m: AudioDone(m.item_id)),
    "session.created": _parser(
        _SessionEvent, lambda m: SessionCreated(m.session.id, m.session.expires_at)
    ),
    "session.updated": _parser(_SessionEvent, lambda m: SessionUpdated()),
    "input_audio_buffer.speech_started": _parser(
        _Start, lambda m: SpeechStarted(m.audio_start_ms, m.item_id)
    ),
    "input_audio_buffer.speech_stopped": _parser(
        _Stop, lambda m: SpeechStopped(m.audio_end_ms, m.item_id)
    ),
    "response.created": _parser(_ResponseEvent, _response_started),
    "response.done": _parser(_ResponseEvent, _response_done),
    "response.output_audio_transcript.delta": _parser(
        _Delta, lambda m: AgentTranscript(m.item_id, m.delta, False)
    ),
    "response.output_audio_transcript.done": _parser(
        _Transcript, lambda m: AgentTranscript(m.item_id, m.transcript, True)
    ),
    "conversation.item.input_audio_transcription.completed": _caller_transcript,
    # As one of the service's own pages has it.
    "conversation.item.audio_transcription.completed": _caller_transcript,
    "conversation.item.input_audio_transcription.failed": _parser(
        _TranscriptionFailed, _transcription_failed
    ),
    "input_audio_buffer.committed": _parser(_Item, lambda m: TurnCommitted(m.item_id)),
    "response.output_text.done": _parser(
        _Text, lambda m: ResponseText(m.response_id, m.text)
    ),
    "conversation.item.added": _parser(_ConversationItemEvent, _item_added),
    "conversation.item.truncated": _parser(_Item, lambda m: ItemTruncated(m.item_id)),
    "response.function_call_arguments.done": _parser(
        _ToolCall,
        lambda m: ToolCalled(m.response_id, m.call_id, m.name, m.arguments),
    ),
    "response.output_item.done": _parser(_OutputItemEvent, _output_item),
    "mcp_list_tools.failed": _parser(
        _McpListFailed, lambda m: McpCalled("list_tools", "its tools are not known")
    ),
    "error": _parser(_ErrorEvent, _error),
}


class RealtimeReader:
    """Parse what one session says."""

    def __init__(self, dialect: Dialect) -> None:
        self._parsers = {
            **_PARSERS,
            **{
                wire: _PARSERS[name]
                for wire, name in dialect.renamed.items()
                if name in _PARSERS
            },
        }

    def receive(self, payload: bytes, is_binary: bool) -> Event:
        """
        Parse one message.

        @raise RemoteProtocolError: it is not what the protocol allows; the
            session cannot be used any more.
        """
        if is_binary:
            raise RemoteProtocolError("binary message")
        try:
            kind = _decode_head(payload).type
            parse = self._parsers.get(kind)
            return Unrecognized(kind) if parse is None else parse(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
            raise RemoteProtocolError(f"malformed event: {exc}") from exc


# --- commands to the service ------------------------------------------------

#: A command as a JSON document, without an id.
Command: TypeAlias = dict[str, Any]

#: A member of the metadata of a response that is a transcript: of which item.
_TRANSCRIPT_OF: Final = "transcript_of"

_APPEND_HEAD: Final = b'{"type":"input_audio_buffer.append","audio":"'


def encode(command: Command, command_id: str) -> bytes:
    """
    @param command_id: what an C{error} event will name if it is refused.
    """
    return msgspec.json.encode({**command, "event_id": command_id})


def append_audio(audio: bytes) -> bytes:
    """The caller's audio, in the codec of the session; once per frame."""
    return _APPEND_HEAD + binascii.b2a_base64(audio, newline=False) + b'"}'


def update_session(dialect: Dialect, profile: AgentProfile, codec: Codec) -> Command:
    session = dialect.session(profile, dialect.formats[codec])
    return {"type": "session.update", "session": session}


def truncate_item(item_id: str, content_index: int, played_ms: int) -> Command:
    """Tell the model how much of its item was heard."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": played_ms,
    }


def cancel_response() -> Command:
    return {"type": "response.cancel"}


def create_response(instructions: str = "") -> Command:
    """Let the agent speak; C{instructions} replace the session's for this once."""
    command: Command = {"type": "response.create"}
    if instructions:
        command["response"] = {"instructions": instructions}
    return command


def create_aside(dialect: Dialect, instructions: str) -> Command:
    """A response that does not become a part of the conversation."""
    response = {
        "conversation": "none",
        dialect.modalities_key: list(dialect.modalities),
        "instructions": instructions,
        "input": [],
    }
    return {"type": "response.create", "response": response}


def create_transcript(
    dialect: Dialect, item_id: str, transcription: Transcription
) -> Command:
    """
    Let the model write down one item of the caller's, beside the conversation.

    The service repeats the metadata in C{response.created}, which tells this
    response from those that are spoken.
    """
    instructions = (
        "Write down what is said in this audio, word for word and in the language"
        " that is spoken. Write nothing else: no answer, no comment, no quotation"
        " marks. If nothing is said, write nothing."
    )
    if transcription.language:
        instructions += f" The language is probably {transcription.language!r}."
    if transcription.prompt:
        instructions += f" Context: {transcription.prompt}"
    response = {
        "conversation": "none",
        dialect.modalities_key: ["text"],
        "instructions": instructions,
        "input": [{"type": "item_reference", "id": item_id}],
        "metadata": {_TRANSCRIPT_OF: item_id},
        "tool_choice": "none",
    }
    return {"type": "response.create", "response": response}


def create_text(text: str, role: str) -> Command:
    """
    A text in the conversation; a C{response.create} may follow.

    @param role: C{user} or C{system}.
    """
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": role, "content": content}
    return {"type": "conversation.item.create", "item": item}


def create_tool_output(call_id: str, output: str) -> Command:
    """Give a function's result; a C{response.create} has to follow."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


def session_codec(dialect: Dialect, leg_codec: Codec) -> Codec:
    """
    What to speak with the service: the leg's own codec where it can, so that
    the bytes pass untouched; linear 24 kHz otherwise.
    """
    return leg_codec if leg_codec in dialect.formats else L16_24000
