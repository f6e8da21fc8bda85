"""
The events of an Azure OpenAI Realtime service, as values.

The names are those of the GA protocol without its prefixes.
L{chime_gateway.wire.realtime} reads them from messages.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from attrs import field, frozen


@frozen
class SessionCreated:
    """The service accepted the connection; it now waits for our settings."""

    session_id: str
    expires_at: int | None


@frozen
class SessionUpdated:
    """Our settings are in force: audio may flow."""


class AudioDelta(msgspec.Struct, frozen=True, gc=False):
    """
    A piece of the agent's speech, in the agreed codec.

    A struct and not an attrs class because there are fifty a second of it.
    """

    response_id: str
    item_id: str
    content_index: int
    audio: bytes

    def __repr__(self) -> str:
        return f"AudioDelta(item_id={self.item_id!r}, <{len(self.audio)} bytes>)"


@frozen
class AudioDone:
    """No more audio will come for this item."""

    item_id: str


@frozen
class PartAdded:
    """
    An item gets one more part; the audio of it follows, in whichever way.

    @ivar is_audio: it is spoken.
    """

    response_id: str
    item_id: str
    content_index: int
    is_audio: bool


@frozen
class PlaybackStarted:
    """
    Over WebRTC: the service sends the audio of this response from now on, as it is to
    be heard.
    """

    response_id: str


@frozen
class PlaybackStopped:
    """
    It has sent all of it.

    @ivar is_cut: it has thrown the rest away instead.
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
    """The caller's turn is over; the agent's answer is due."""

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

    @ivar is_given: it is of a kind that we put in: a text, or a function's result.
    @ivar call_id: of a function's result.
    """

    item_id: str
    is_given: bool
    call_id: str


@frozen
class ItemDeleted:
    """The model does not know of the item any more."""

    item_id: str


@frozen
class ItemTruncated:
    """The service has forgotten what was not heard of an item."""

    item_id: str


@frozen
class ResponseStarted:
    """
    @ivar transcript_of: it is not spoken: it writes down this item of the caller's.
    @ivar asked_as: what we called it when we asked for it; empty: the service does not
        say, or began it by itself.
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
        """As they count for the limit per minute: cached ones, too."""
        return self.input_tokens + self.output_tokens


@frozen
class ResponseDone:
    """
    Exactly one for each response.

    @ivar status: completed, cancelled, incomplete or failed.
    @ivar detail: why it is not completed, as the service words it.
    @ivar retry_seconds: when it may be asked for again, if the service says so.
    @ivar cause: the same as L{detail} in a word of ours; empty: none that is known.
    """

    response_id: str
    status: str
    detail: str
    usage: Usage
    retry_seconds: float | None = None
    cause: str = ""


@frozen
class AgentTranscript:
    """What the agent says, ahead of the audio; C{final} holds the whole text."""

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
    """What the caller said in this item will not be written down."""

    item_id: str
    code: str
    message: str


@frozen
class ToolCalled:
    """The model wants a function run; C{arguments} is JSON that it wrote."""

    response_id: str
    call_id: str
    name: str
    arguments: str = field(repr=lambda text: f"<{len(text)} characters>")


@frozen
class McpBegan:
    """
    The service calls a tool of an MCP server.

    @ivar name: C{SERVER.TOOL}; empty: it is not said.
    """

    item_id: str
    name: str


@frozen
class McpOver:
    """The call has its result, or has failed."""

    item_id: str
    has_failed: bool


@frozen
class McpCalled:
    """
    All that the service says of a call of a tool of an MCP server, as the response is
    over or the call is.

    @ivar name: C{SERVER.TOOL}; without a point it is no call.
    @ivar fault: why it failed, as far as that is said; empty: it did not.
    @ivar item_id: empty: it is not said.
    @ivar has_result: the call is over.
    """

    name: str
    fault: str
    item_id: str = ""
    has_result: bool = True


@frozen
class ServiceError:
    """
    The service refused a command, or fails.

    @ivar benign: a race that both sides survive.
    @ivar fatal: nothing more can be expected of this session.
    @ivar param: the member that is refused, if the service says so.
    @ivar command_id: of the command that is refused; empty: it is not said.
    @ivar is_about_request: what was asked for cannot be had; otherwise the service is
        throttled or broken, and the same may be had later.
    @ivar is_about_model: of the deployment, whatever it is asked for.
    @ivar is_of_account: of whoever the key belongs to; an operator must act.
    @ivar retry_seconds: when it may be asked again, if the service says so.
    @ivar cause: the code in a word of ours; empty: none that is known.
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
    """An event that means nothing here: counted by its type, never fatal."""

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

#: Events that carry nothing a call needs; seen in every session.
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
