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
from typing import Any, Final, TypeVar

import msgspec

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.realtime.commands import TRANSCRIPT_OF
from chime_gateway.wire.realtime.dialects import Dialect
from chime_gateway.wire.realtime.error_codes import (
    ACCOUNT_ERRORS,
    FATAL_ERRORS,
    is_about_request,
    is_benign,
)
from chime_gateway.wire.realtime.events import (
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
    param: Any = None
    event_id: Any = None


class _StatusDetails(msgspec.Struct):
    reason: str | None = None
    error: _Error | None = None


class _Response(msgspec.Struct):
    id: str = ""
    status: str | None = None
    status_details: _StatusDetails | None = None
    usage: _Usage | None = None
    metadata: Any = None


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


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


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
    metadata = message.response.metadata
    item_id = metadata.get(TRANSCRIPT_OF) if isinstance(metadata, dict) else None
    return ResponseStarted(message.response.id, _text(item_id))


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
    kind = message.error.type or ""
    code = message.error.code or kind or "unknown"
    text = message.error.message or ""
    return ServiceError(
        code=code,
        message=text,
        benign=is_benign(code, text),
        fatal=code in FATAL_ERRORS,
        param=_text(message.error.param),
        command_id=_text(message.error.event_id),
        is_about_request=is_about_request(code, kind),
        is_of_account=code in ACCOUNT_ERRORS,
    )


_T = TypeVar("_T")


def _parser(kind: type[_T], make: Callable[[_T], Event]) -> Callable[[bytes], Event]:
    decode = msgspec.json.Decoder(kind).decode
    return lambda payload: make(decode(payload))


_caller_transcript: Final = _parser(
    _Transcript, lambda m: CallerTranscript(m.item_id, m.transcript)
)

_item_added_parser: Final = _parser(_ConversationItemEvent, _item_added)

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
    "conversation.item.added": _item_added_parser,
    # A GA service may still say it so.
    "conversation.item.created": _item_added_parser,
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

#: A call does without these: one that looks otherwise than expected means nothing.
_DISPENSABLE: Final = frozenset(
    {
        "conversation.item.added",
        "conversation.item.created",
        "conversation.item.truncated",
        "conversation.item.audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "input_audio_buffer.committed",
        "response.output_text.done",
        "response.text.done",
    }
)


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
        kind = ""
        try:
            kind = _decode_head(payload).type
            parse = self._parsers.get(kind)
            return Unrecognized(kind) if parse is None else parse(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
            if kind in _DISPENSABLE and isinstance(exc, msgspec.ValidationError):
                return Unrecognized(kind)
            raise RemoteProtocolError(f"malformed event: {exc}") from exc
