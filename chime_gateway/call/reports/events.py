"""
The events of a call, for the store, webhooks and other observers.

Each kind of event has a class of its own; L{chime_gateway.call.reports.event_json}
converts them to JSON.  Times within a call are seconds since its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, TypeAlias

from attrs import field, frozen

STARTED: Final = "call.started"
ANSWERED: Final = "call.answered"
TURN: Final = "turn.completed"
TOOL: Final = "tool.called"
KEYS: Final = "keys.pressed"
TRANSFERRING: Final = "call.transferring"
TRANSFER_FAILED: Final = "call.transfer_failed"
RECORDING: Final = "recording.changed"
ENDED: Final = "call.ended"


@frozen(kw_only=True)
class TransferFacts:
    """An attempt to transfer the caller; C{outcome} is empty while it is under way."""

    target: str = field(repr=False)
    at: float
    outcome: str
    reason: str


@frozen(kw_only=True)
class SessionFacts:
    """
    One of the agent's sessions; times are seconds since the start of the call.

    @ivar ended: when it ended before the call did; C{None}: it did not.
    @ivar reason: why it ended.
    @ivar silent_seconds: how long the caller heard nothing because it ended.
    """

    deployment: str
    began: float
    ended: float | None
    reason: str
    silent_seconds: float


@frozen(kw_only=True)
class ToolFacts:
    """One tool call; C{fault} is empty if it has a result."""

    name: str
    arguments: str = field(repr=False)
    result: str = field(repr=False)
    fault: str = field(repr=False)
    seconds: float


@frozen(kw_only=True)
class HeardFacts:
    """How much the caller heard of what the agent said."""

    interrupted: bool
    heard_ms: int | None
    spoken_ms: int | None
    heard_text: str = field(repr=False)


@frozen(kw_only=True)
class TurnFacts:
    """
    One turn.

    @ivar speaker: a value of L{chime_gateway.call.conversation.transcript.Speaker}.
    @ivar heard: only in turns of the agent.
    @ivar tool: only in turns that are tool calls.
    """

    number: int
    speaker: str
    started: float
    ended: float | None
    text: str = field(repr=False)
    heard: HeardFacts | None = None
    tool: ToolFacts | None = None


@frozen(kw_only=True)
class CallFacts:
    """
    A snapshot of a call's record (L{chime_gateway.call.reports.record}).

    The log, the database and JSON use the names of its fields.
    """

    call_id: str
    carrier: str
    direction: str
    carrier_call_id: str
    stream_id: str
    agent_profile: str
    codec: str
    started_at: float
    answered_seconds: float | None
    duration_seconds: float
    outcome: str | None
    reason: str | None
    turns: int
    responses: int
    failed_responses: int
    barge_ins: int
    tool_calls: int
    failed_tool_calls: int
    digits: int
    transfers_tried: int
    recording_fault: str
    turn_latency_p50: float | None
    turn_latency_p95: float | None
    frames_in: int
    frames_out: int
    frames_filled: int
    frames_dropped: Mapping[str, float]
    underruns: int
    tokens: Mapping[str, int]
    protocol_notes: Mapping[str, int]
    caller: str = field(repr=False)
    called: str = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)
    recording: str
    transfers: Sequence[TransferFacts]
    sessions: Sequence[SessionFacts] = ()

    @property
    def answered_at(self) -> float | None:
        """Unix seconds."""
        if self.answered_seconds is None:
            return None
        return self.started_at + self.answered_seconds


@frozen(kw_only=True)
class LiveCall:
    """A call in progress, as operators see it."""

    call: CallFacts
    transcript: Sequence[TurnFacts] = field(repr=False)
    is_recording_paused: bool


# -- one class for each kind -------------------------------------------------------


@frozen
class CallStarted:
    kind: ClassVar[str] = STARTED
    call: CallFacts


@frozen
class CallAnswered:
    kind: ClassVar[str] = ANSWERED
    call: CallFacts


@frozen
class TurnCompleted:
    kind: ClassVar[str] = TURN
    turn: TurnFacts


@frozen
class ToolCalled:
    kind: ClassVar[str] = TOOL
    tool: ToolFacts


@frozen
class KeysPressed:
    """The caller pressed keys unprompted; the turn says which."""

    kind: ClassVar[str] = KEYS
    count: int


@frozen
class CallTransferring:
    kind: ClassVar[str] = TRANSFERRING
    transfer: TransferFacts


@frozen
class CallTransferFailed:
    kind: ClassVar[str] = TRANSFER_FAILED
    transfer: TransferFacts


@frozen
class RecordingChanged:
    kind: ClassVar[str] = RECORDING
    paused: bool


@frozen
class CallEnded:
    kind: ClassVar[str] = ENDED
    call: CallFacts
    transcript: Sequence[TurnFacts] = field(repr=False)


Payload: TypeAlias = (
    CallStarted
    | CallAnswered
    | TurnCompleted
    | ToolCalled
    | KeysPressed
    | CallTransferring
    | CallTransferFailed
    | RecordingChanged
    | CallEnded
)


@frozen
class CallEvent:
    """
    One event of a call.

    @ivar number: of the event within its call, from 1.
    @ivar at: Unix seconds.
    @ivar payload: what happened; it contains phone numbers and speech.
    """

    call_id: str
    number: int
    at: float
    payload: Payload = field(repr=False)

    @property
    def kind(self) -> str:
        """One of the names above."""
        return self.payload.kind


class EventSequence:
    """
    Numbers the events of one call.

    @param started_at: Unix seconds.
    """

    def __init__(self, call_id: str, started_at: float) -> None:
        self._call_id = call_id
        self._started_at = started_at
        self._count = 0

    def next(self, payload: Payload, seconds: float) -> CallEvent:
        """
        Return the next event.

        @param seconds: since the start of the call.
        """
        self._count += 1
        at = self._started_at + seconds
        return CallEvent(self._call_id, self._count, at, payload)
