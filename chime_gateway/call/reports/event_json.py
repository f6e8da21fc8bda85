"""
Events and records as JSON, with the names and the order of fields that webhooks, live
events, the API and the database use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from attrs import asdict

from chime_gateway.call.reports.events import (
    CallAnswered,
    CallEnded,
    CallEvent,
    CallFacts,
    CallStarted,
    CallTransferFailed,
    CallTransferring,
    KeysPressed,
    LiveCall,
    Payload,
    RecordingChanged,
    ToolCalled,
    TurnCompleted,
    TurnFacts,
)


def call_json(call: CallFacts) -> dict[str, Any]:
    return asdict(call)


def live_call_json(live: LiveCall) -> dict[str, Any]:
    """The record of a live call; its transcript is sent separately."""
    return {
        **call_json(live.call),
        "state": "live",
        "recording_paused": live.is_recording_paused,
    }


def turn_json(turn: TurnFacts) -> dict[str, Any]:
    shown = asdict(turn)
    heard, tool = shown.pop("heard"), shown.pop("tool")
    return {**shown, **(heard or {}), **(tool or {})}


def payload_json(payload: Payload) -> dict[str, Any]:
    match payload:
        case CallStarted(call) | CallAnswered(call):
            return call_json(call)
        case CallEnded(call, transcript):
            turns = [turn_json(turn) for turn in transcript]
            return {**call_json(call), "transcript": turns}
        case TurnCompleted(turn):
            return turn_json(turn)
        case ToolCalled(tool):
            return asdict(tool)
        case CallTransferring(transfer) | CallTransferFailed(transfer):
            return asdict(transfer)
        case KeysPressed() | RecordingChanged():
            return asdict(payload)
    assert_never(payload)


def event_json(event: CallEvent, data: Mapping[str, object]) -> dict[str, Any]:
    """
    The form in which live events are sent.

    @param data: the payload, without what the recipient may not see.
    """
    return {
        "type": event.kind,
        "call_id": event.call_id,
        "number": event.number,
        "at": round(event.at, 3),
        "data": data,
    }
