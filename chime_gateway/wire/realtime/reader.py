"""
Parses the service's messages into events, sans I/O.

The GA protocol and the preview dialect (which Voice Live shares) differ only in the
names of some events and in the form of a session's settings, so a L{Dialect} is plain
data.  Names in this module are GA's.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.realtime.dialects import GA, PREVIEW, Dialect
from chime_gateway.wire.realtime.events import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    Event,
    ItemAdded,
    ItemDeleted,
    ItemTruncated,
    McpBegan,
    McpCalled,
    McpOver,
    ResponseText,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    TranscriptionFailed,
    TurnCommitted,
    Unrecognized,
)
from chime_gateway.wire.realtime.faults import (
    Error,
    member,
    service_error,
    whole,
    words,
)
from chime_gateway.wire.realtime.members import NOTHING, Id, loose
from chime_gateway.wire.realtime.output_items import (
    OutputItemEvent,
    output_item_added,
    output_item_done,
)
from chime_gateway.wire.realtime.playback import (
    PartEvent,
    PlaybackEvent,
    part_added,
    playback_cleared,
    playback_started,
    playback_stopped,
)
from chime_gateway.wire.realtime.responses import (
    ResponseEvent,
    response_done,
    response_started,
)

#: Maximum size of an event.  An audio delta is at most some hundred ms of audio, and
#: C{session.updated} has some tens of KB of instructions and tools.
MAX_EVENT_BYTES: Final = 1 << 22


class _Head(msgspec.Struct):
    type: str


class _Session(msgspec.Struct):
    id: msgspec.Raw = NOTHING
    expires_at: msgspec.Raw = NOTHING


class _SessionEvent(msgspec.Struct):
    session: _Session


class _Audio(msgspec.Struct, gc=False):
    """An audio delta, decoded in one step: msgspec decodes base64 for C{bytes}."""

    type: str
    delta: bytes
    item_id: Id | None = ""
    response_id: Id | None = ""
    content_index: int | None = 0


class _Delta(msgspec.Struct):
    delta: str
    item_id: Id | None = ""
    response_id: Id | None = ""
    content_index: int | None = 0


class _Item(msgspec.Struct):
    item_id: Id


class _Start(msgspec.Struct):
    audio_start_ms: msgspec.Raw = NOTHING
    item_id: Id | None = ""


class _Stop(msgspec.Struct):
    audio_end_ms: msgspec.Raw = NOTHING
    item_id: Id | None = ""


class _Transcript(msgspec.Struct):
    item_id: Id
    transcript: str
    response_id: Id | None = ""


class _TranscriptionFailed(msgspec.Struct):
    item_id: Id = ""
    error: msgspec.Raw = NOTHING


class _Text(msgspec.Struct):
    response_id: Id
    text: str
    item_id: Id = ""


class _ConversationItem(msgspec.Struct):
    id: Id = ""
    type: str = ""
    call_id: Id | None = None
    content: msgspec.Raw = NOTHING


class _ConversationItemEvent(msgspec.Struct):
    item: _ConversationItem


class _ToolCall(msgspec.Struct):
    call_id: Id
    arguments: str
    name: Id | None = ""
    response_id: Id | None = ""


class _McpListFailed(msgspec.Struct):
    item_id: Id = ""


class _ErrorEvent(msgspec.Struct):
    error: msgspec.Raw = NOTHING


def _audio_delta(message: _Delta) -> Event:
    try:
        audio = binascii.a2b_base64(message.delta, strict_mode=True)
    except ValueError as exc:
        raise RemoteProtocolError(f"audio delta is not base64: {exc}") from exc
    return AudioDelta(
        message.response_id or "",
        message.item_id or "",
        message.content_index or 0,
        audio,
    )


def _transcription_failed(message: _TranscriptionFailed) -> Event:
    error = Error.read(loose(message.error))
    return TranscriptionFailed(message.item_id, error.name or "unknown", error.text)


def _item_added(message: _ConversationItemEvent) -> Event:
    item = message.item
    is_result = item.type == "function_call_output"
    content = loose(item.content)
    parts = content if isinstance(content, list) else []
    is_text = any(member(part, "type") == "input_text" for part in parts)
    call_id = item.call_id or "" if is_result else ""
    return ItemAdded(item.id, is_result or is_text, call_id)


_T = TypeVar("_T")


def _parser(kind: type[_T], make: Callable[[_T], Event]) -> Callable[[bytes], Event]:
    decode = msgspec.json.Decoder(kind).decode
    return lambda payload: make(decode(payload))


_caller_transcript: Final = _parser(
    _Transcript, lambda m: CallerTranscript(m.item_id, m.transcript)
)

_item_added_parser: Final = _parser(_ConversationItemEvent, _item_added)

_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_audio: Final = msgspec.json.Decoder(_Audio).decode

#: The end of an audio delta's type, which is near the beginning of the message.
_AUDIO_MARK: Final = b'audio.delta"'
_MARK_WITHIN: Final = 128

_PARSERS: Final[Mapping[str, Callable[[bytes], Event]]] = {
    "response.output_audio.delta": _parser(_Delta, _audio_delta),
    "response.output_audio.done": _parser(_Item, lambda m: AudioDone(m.item_id)),
    "response.content_part.added": _parser(PartEvent, part_added),
    "output_audio_buffer.started": _parser(PlaybackEvent, playback_started),
    "output_audio_buffer.stopped": _parser(PlaybackEvent, playback_stopped),
    "output_audio_buffer.cleared": _parser(PlaybackEvent, playback_cleared),
    "session.created": _parser(
        _SessionEvent,
        lambda m: SessionCreated(
            words(loose(m.session.id)),
            max(0, whole(loose(m.session.expires_at))) or None,
        ),
    ),
    "session.updated": _parser(_SessionEvent, lambda m: SessionUpdated()),
    "input_audio_buffer.speech_started": _parser(
        _Start,
        lambda m: SpeechStarted(whole(loose(m.audio_start_ms)), m.item_id or ""),
    ),
    "input_audio_buffer.speech_stopped": _parser(
        _Stop, lambda m: SpeechStopped(whole(loose(m.audio_end_ms)), m.item_id or "")
    ),
    "response.created": _parser(ResponseEvent, response_started),
    "response.done": _parser(ResponseEvent, response_done),
    "response.output_audio_transcript.delta": _parser(
        _Delta,
        lambda m: AgentTranscript(m.item_id or "", m.delta, False, m.response_id or ""),
    ),
    "response.output_audio_transcript.done": _parser(
        _Transcript,
        lambda m: AgentTranscript(m.item_id, m.transcript, True, m.response_id or ""),
    ),
    "conversation.item.input_audio_transcription.completed": _caller_transcript,
    # A name that one page of the service's documentation uses.
    "conversation.item.audio_transcription.completed": _caller_transcript,
    "conversation.item.input_audio_transcription.failed": _parser(
        _TranscriptionFailed, _transcription_failed
    ),
    "input_audio_buffer.committed": _parser(_Item, lambda m: TurnCommitted(m.item_id)),
    "response.output_text.done": _parser(
        _Text, lambda m: ResponseText(m.response_id, m.text, m.item_id)
    ),
    "conversation.item.added": _item_added_parser,
    # GA services may still use this name.
    "conversation.item.created": _item_added_parser,
    "conversation.item.deleted": _parser(_Item, lambda m: ItemDeleted(m.item_id)),
    "conversation.item.truncated": _parser(_Item, lambda m: ItemTruncated(m.item_id)),
    "response.function_call_arguments.done": _parser(
        _ToolCall,
        lambda m: ToolCalled(m.response_id or "", m.call_id, m.name or "", m.arguments),
    ),
    "response.output_item.added": _parser(OutputItemEvent, output_item_added),
    "response.output_item.done": _parser(OutputItemEvent, output_item_done),
    "response.mcp_call.in_progress": _parser(_Item, lambda m: McpBegan(m.item_id, "")),
    "response.mcp_call.completed": _parser(_Item, lambda m: McpOver(m.item_id, False)),
    "response.mcp_call.failed": _parser(_Item, lambda m: McpOver(m.item_id, True)),
    "mcp_list_tools.failed": _parser(
        _McpListFailed, lambda m: McpCalled("list_tools", "its tools are not known")
    ),
    "error": _parser(_ErrorEvent, lambda m: service_error(Error.read(loose(m.error)))),
}

#: A call can do without these events: malformed ones are ignored.
_DISPENSABLE: Final = frozenset(
    {
        "conversation.item.added",
        "conversation.item.created",
        "conversation.item.truncated",
        "conversation.item.audio_transcription.completed",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "input_audio_buffer.committed",
        "mcp_list_tools.failed",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "response.audio.done",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio_transcript.done",
        "response.output_audio.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.done",
        "response.text.done",
    }
)


class RealtimeReader:
    """Parses the messages of a session."""

    __slots__ = ("_audio_types", "_parsers")

    def __init__(self, dialect: Dialect) -> None:
        self._parsers = {
            **_PARSERS,
            **{
                wire: _PARSERS[name]
                for wire, name in dialect.renamed.items()
                if name in _PARSERS
            },
        }
        speech = _PARSERS["response.output_audio.delta"]
        self._audio_types = {
            name for name, parse in self._parsers.items() if parse is speech
        }

    def receive(self, payload: bytes, is_binary: bool) -> Event:
        """
        Parse one message.

        @raise RemoteProtocolError: the message violates the protocol; the session can
            no longer be used.
        """
        if is_binary:
            raise RemoteProtocolError("binary message")
        if payload.find(_AUDIO_MARK, 0, _MARK_WITHIN) > 0:
            # The fast path, fifty times a second.  Anything unusual is parsed below.
            try:
                audio = _decode_audio(payload)
                if audio.type in self._audio_types:
                    return AudioDelta(
                        audio.response_id or "",
                        audio.item_id or "",
                        audio.content_index or 0,
                        audio.delta,
                    )
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                pass
        return self._receive_any(payload)

    def _receive_any(self, payload: bytes) -> Event:
        kind = ""
        try:
            kind = _decode_head(payload).type
            parse = self._parsers.get(kind)
            return Unrecognized(kind) if parse is None else parse(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
            if isinstance(exc, msgspec.ValidationError):
                if kind in _DISPENSABLE:
                    return Unrecognized(kind)
                if kind == "error":
                    return service_error(Error())
            raise RemoteProtocolError(f"malformed event: {exc}") from exc


READERS: Final[Mapping[str, RealtimeReader]] = {
    dialect.name: RealtimeReader(dialect) for dialect in (GA, PREVIEW)
}
