"""
The record of a call, complete when the call has ended.

It contains phone numbers, so it may be logged only through L{CallRecord.log_fields} and
its siblings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import Factory, asdict, define, field

from chime_gateway.call.reports.events import CallFacts, SessionFacts
from chime_gateway.call.transfer import TransferNote
from chime_gateway.media.stats import MediaStats
from chime_gateway.outcomes import CallerInfo, Ending

#: Fields that are never logged.
_PRIVATE: Final = frozenset(
    {"caller", "called", "parameters", "recording", "transfers"}
)

#: The fields that are logged when a call begins.
_OF_START: Final = ("call_id", "carrier", "carrier_call_id", "agent_profile", "codec")

#: Reduces a record to what others may see of it.
Shown: TypeAlias = Callable[[CallFacts], CallFacts]

#: Maximum number of kinds of oddities that are counted separately.
_MAX_NOTES: Final = 50

#: Maximum length of a reason; some are texts of the service.
_REASON_CHARS: Final = 300


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least C{share} of all values do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)]


@define
class SessionNote:
    """
    One of the agent's sessions.

    @ivar began: seconds since the start of the call.
    @ivar ended: the same; C{None}: it did not end before the call did.
    @ivar reason: why it ended.
    @ivar silent_seconds: how long the caller heard nothing because it ended.
    """

    deployment: str
    began: float
    ended: float | None = None
    reason: str = ""
    silent_seconds: float = 0.0

    def facts(self) -> SessionFacts:
        return SessionFacts(
            deployment=self.deployment,
            began=round(self.began, 3),
            ended=_rounded(self.ended),
            reason=self.reason[:_REASON_CHARS],
            silent_seconds=round(self.silent_seconds, 3),
        )


@define(kw_only=True)
class CallRecord:
    """
    The record of one call.

    @ivar started_at: Unix seconds.
    @ivar answered_seconds: from the start until caller and agent were connected.
    @ivar turns: number of the caller's turns.
    @ivar tokens: as billed, by kind.
    @ivar protocol_notes: number of harmless oddities of either peer, by kind.
    @ivar direction: C{inbound} or C{outbound}.
    @ivar tool_calls: number of tool calls; C{failed_tool_calls} of them had no result.
    @ivar digits: number of keys that the caller pressed.
    @ivar transfers: attempts to transfer the caller.
    @ivar sessions: the agent's sessions, in order.
    @ivar recording: where the recording is; empty: there is none.
    @ivar recording_fault: why the recording is incomplete.
    """

    call_id: str
    carrier: str
    agent_profile: str
    codec: str
    info: CallerInfo
    started_at: float
    answered_seconds: float | None = None
    duration_seconds: float = 0.0
    ending: Ending | None = None
    turns: int = 0
    responses: int = 0
    failed_responses: int = 0
    media: MediaStats = field(factory=MediaStats)
    direction: str = "inbound"
    tool_calls: int = 0
    failed_tool_calls: int = 0
    digits: int = 0
    transfers: list[TransferNote] = Factory(list)
    sessions: list[SessionNote] = Factory(list)
    recording: str = ""
    recording_fault: str = ""
    tokens: Counter[str] = Factory(Counter)
    protocol_notes: Counter[str] = Factory(Counter)

    def note_oddity(self, kind: str) -> None:
        # The peer chooses the names, so their number has to be bounded.
        notes = self.protocol_notes
        notes[kind[:64] if len(notes) < _MAX_NOTES else "other"] += 1

    def start_fields(self, shown: Shown = lambda facts: facts) -> Mapping[str, Any]:
        """Return the fields to log when the call begins."""
        facts = asdict(shown(self.facts()))
        return {name: facts[name] for name in _OF_START}

    def answered_fields(self, agent_codec: str) -> Mapping[str, Any]:
        """Return the fields to log when the agent has answered."""
        seconds = self.answered_seconds
        return {
            "call_id": self.call_id,
            "answered_seconds": None if seconds is None else round(seconds, 3),
            "agent_codec": agent_codec,
        }

    def context(self) -> Mapping[str, Any]:
        """Return what the servers of tools receive about the call."""
        info = self.info
        return {
            "call_id": self.call_id,
            "carrier": self.carrier,
            "carrier_call_id": info.carrier_call_id,
            "agent": self.agent_profile,
            "caller": info.caller,
            "called": info.called,
            "parameters": dict(info.parameters),
        }

    def facts(self) -> CallFacts:
        """Return the complete current record, including private data."""
        info, media, ending = self.info, self.media, self.ending
        latencies = media.turn_latencies
        return CallFacts(
            call_id=self.call_id,
            carrier=self.carrier,
            direction=self.direction,
            carrier_call_id=info.carrier_call_id,
            stream_id=info.stream_id,
            agent_profile=self.agent_profile,
            codec=self.codec,
            started_at=round(self.started_at, 3),
            answered_seconds=_rounded(self.answered_seconds),
            duration_seconds=round(self.duration_seconds, 3),
            outcome=ending.outcome.value if ending else None,
            reason=ending.reason if ending else None,
            turns=self.turns,
            responses=self.responses,
            failed_responses=self.failed_responses,
            barge_ins=media.barge_ins,
            tool_calls=self.tool_calls,
            failed_tool_calls=self.failed_tool_calls,
            digits=self.digits,
            transfers_tried=len(self.transfers),
            recording_fault=self.recording_fault,
            turn_latency_p50=_rounded(quantile(latencies, 0.5)),
            turn_latency_p95=_rounded(quantile(latencies, 0.95)),
            frames_in=round(media.frames_in),
            frames_out=round(media.frames_out),
            frames_filled=media.frames_filled,
            frames_dropped=dict(media.dropped),
            underruns=media.underruns,
            tokens=dict(self.tokens),
            protocol_notes=dict(self.protocol_notes),
            caller=info.caller,
            called=info.called,
            parameters=dict(info.parameters),
            recording=self.recording,
            transfers=tuple(note.facts() for note in self.transfers),
            sessions=tuple(note.facts() for note in self.sessions),
        )

    def log_fields(self, shown: Shown = lambda facts: facts) -> dict[str, Any]:
        """
        Return everything but phone numbers and parameters, flat, for one log event.

        @param shown: reduces the record to what may be seen; a peer chose some of it.
        """
        facts = shown(self.facts())
        return asdict(facts, filter=lambda field, _: field.name not in _PRIVATE)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
