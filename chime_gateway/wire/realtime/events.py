"""
The events of an Azure OpenAI Realtime service, as values.

Their names are GA's event names without the prefixes.
L{chime_gateway.wire.realtime.reader} reads them from messages.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from attrs import field, frozen


@frozen
class SessionCreated:
    """The service has accepted the connection, and waits for our settings."""

    session_id: str
    expires_at: int | None


@frozen
class SessionUpdated:
    """Our settings are in force: audio may flow."""


class AudioDelta(msgspec.Struct, frozen=True, gc=False):
    """
    A piece of the agent's speech, in the session's codec.

    A struct instead of an attrs class, for speed: there are fifty a second.
    """

    response_id: str
    item_id: str
    content_index: int
    audio: bytes

    def __repr__(self) -> str:
        return f"AudioDelta(item_id={self.item_id!r}, <{len(self.audio)} bytes>)"


@frozen
class AudioDone:
    """The audio of an item is complete."""

    item_id: str


@frozen
class PartAdded:
    """
    An item has one more part; its audio follows, in the events or outside of them.

    @ivar is_audio: whether the part has audio.
    """

    response_id: str
    item_id: str
    content_index: int
    is_audio: bool


@frozen
class PlaybackStarted:
    """
    Over WebRTC: the service has begun to send the audio of this response, in real time.
    """

    response_id: str


@frozen
class PlaybackStopped:
    """
    Over WebRTC: the service has stopped sending the audio of this response.

    @ivar is_cut: whether the rest was discarded; otherwise all of it was sent.
    """

    response_id: str
    is_cut: bool


@frozen
class SpeechStarted:
    """The service's VAD heard the caller: the barge-in trigger."""

    audio_start_ms: int
    item_id: str


@frozen
class SpeechStopped:
    """The service's VAD has heard the end of the caller's turn."""

    audio_end_ms: int
    item_id: str


@frozen
class TurnCommitted:
    """What the caller said has become an item of the conversation."""

    item_id: str


@frozen
class ItemAdded:
    """
    The conversation has one more item.

    @ivar is_given: whether it is of a kind that we add: a text, or a function's result.
    @ivar call_id: the function call that an added result belongs to.
    """

    item_id: str
    is_given: bool
    call_id: str


@frozen
class ItemDeleted:
    """The item was deleted from the conversation."""

    item_id: str


@frozen
class ItemTruncated:
    """The service has deleted the part of an item that was not heard."""

    item_id: str


@frozen
class ResponseStarted:
    """
    The service has begun a response.

    @ivar transcript_of: if not empty, the response is not spoken: it transcribes this
        item of the caller.
    @ivar asked_as: the name that we gave the request; empty: the service has begun the
        response on its own, or does not repeat names.
    """

    response_id: str
    transcript_of: str = ""
    asked_as: str = ""


@frozen
class ResponseText:
    """The whole text of a response that is not spoken."""

    response_id: str
    text: str = field(repr=lambda text: f"<{len(text)} characters>")
    item_id: str = ""


@frozen
class Usage:
    """Tokens of one response, as billed."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total(self) -> int:
        """All tokens; for the limit per minute, cached ones count as well."""
        return self.input_tokens + self.output_tokens


@frozen
class ResponseDone:
    """
    A response has ended; there is exactly one such event for each response.

    @ivar status: completed, cancelled, incomplete or failed.
    @ivar detail: why it is not completed, in the service's words.
    @ivar retry_seconds: when it may be requested again, if the service tells.
    @ivar cause: the cause as one of a few fixed words; empty: it is unknown.
    """

    response_id: str
    status: str
    detail: str
    usage: Usage
    retry_seconds: float | None = None
    cause: str = ""


@frozen
class AgentTranscript:
    """
    The text of what the agent says, which comes before the audio.

    @ivar final: whether this is the whole text; otherwise it is one more piece.
    """

    item_id: str
    text: str = field(repr=lambda text: f"<{len(text)} characters>")
    final: bool
    response_id: str = ""


@frozen
class CallerTranscript:
    """What the caller said."""

    item_id: str
    text: str = field(repr=lambda text: f"<{len(text)} characters>")


@frozen
class TranscriptionFailed:
    """The service could not transcribe this item of the caller."""

    item_id: str
    code: str
    message: str


@frozen
class ToolCalled:
    """The model calls a function; C{arguments} is JSON that it has generated."""

    response_id: str
    call_id: str
    name: str
    arguments: str = field(repr=lambda text: f"<{len(text)} characters>")


@frozen
class McpBegan:
    """
    The service has begun to call a tool of an MCP server.

    @ivar name: C{SERVER.TOOL}; empty: the event does not tell.
    """

    item_id: str
    name: str


@frozen
class McpOver:
    """The call of an MCP server's tool has its result, or has failed."""

    item_id: str
    has_failed: bool


@frozen
class McpCalled:
    """
    All that the service tells about the call of an MCP server's tool, when the response
    or the call has ended.

    @ivar name: C{SERVER.TOOL}; a name without a dot is not a call.
    @ivar fault: why the call failed, as far as known; empty: it did not fail.
    @ivar item_id: empty: the event does not tell.
    @ivar has_result: whether the call has ended.
    """

    name: str
    fault: str
    item_id: str = ""
    has_result: bool = True


@frozen
class ServiceError:
    """
    The service has refused a command, or has failed.

    @ivar benign: whether it is only a race between both sides, which does no harm.
    @ivar fatal: whether the session can no longer be used.
    @ivar param: the refused member of the command, if the service tells.
    @ivar command_id: the refused command; empty: the service does not tell.
    @ivar is_about_request: whether the request itself is wrong; otherwise the service
        is throttled or broken, and the same request may succeed later.
    @ivar is_about_model: whether the deployment refuses any such session.
    @ivar is_of_account: whether it concerns the account of the key, so that an operator
        must act.
    @ivar retry_seconds: when to try again, if the service tells.
    @ivar cause: the cause as one of a few fixed words; empty: it is unknown.
    """

    code: str
    message: str
    benign: bool
    fatal: bool
    param: str = ""
    command_id: str = ""
    is_about_request: bool = True
    is_about_model: bool = False
    is_of_account: bool = False
    retry_seconds: float | None = None
    cause: str = ""


@frozen
class Unrecognized:
    """An event that is ignored: counted by its type, never fatal."""

    type: str


Event: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | AudioDelta
    | AudioDone
    | PartAdded
    | PlaybackStarted
    | PlaybackStopped
    | SpeechStarted
    | SpeechStopped
    | TurnCommitted
    | ItemAdded
    | ItemDeleted
    | ItemTruncated
    | ResponseStarted
    | ResponseText
    | ResponseDone
    | AgentTranscript
    | CallerTranscript
    | TranscriptionFailed
    | ToolCalled
    | McpBegan
    | McpOver
    | McpCalled
    | ServiceError
    | Unrecognized
)

#: Events of ordinary sessions that a call does not need.
EXPECTED: Final = frozenset(
    {
        "conversation.created",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.segment",
        "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered",
        "rate_limits.updated",
        "response.content_part.done",
        "response.output_text.delta",
        "response.text.delta",
        "response.function_call_arguments.delta",
        "mcp_list_tools.completed",
        "mcp_list_tools.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_item.added",
        "response.output_item.done",
    }
)
