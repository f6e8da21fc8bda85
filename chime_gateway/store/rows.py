"""
Rows of the tables as values: a field for each column, in the columns' order.

The document in a JSON column may have been written by another version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import AttrsInstance, asdict, field, frozen

from chime_gateway.call.reports.events import CallFacts
from chime_gateway.store.tables import LIVE, PENDING


@frozen
class Whose:
    """
    The process that rows belong to.

    @ivar instance: the gateway's name among those that share a database.
    @ivar generation: the process of that gateway.
    """

    instance: str
    generation: str = ""


@frozen(kw_only=True)
class CallRow:
    """
    A call, in progress or ended.

    @ivar record: its L{chime_gateway.call.reports.events.CallFacts} as JSON.
    @ivar generation: of its process; empty: written by a version without generations.
    """

    call_id: str
    instance: str
    state: str
    carrier: str
    direction: str
    agent: str
    caller: str = field(repr=False)
    called: str = field(repr=False)
    started_at: float
    answered_at: float | None = None
    ended_at: float | None = None
    duration_seconds: float | None = None
    outcome: str | None = None
    reason: str | None = None
    recording: str
    recording_fault: str
    record: Mapping[str, Any] = field(repr=False)
    generation: str = ""


@frozen(kw_only=True)
class TurnRow:
    """
    A turn of a call.

    @ivar turn: a L{chime_gateway.call.reports.events.TurnFacts} as JSON.
    """

    call_id: str
    number: int
    speaker: str
    started: float
    turn: Mapping[str, Any] = field(repr=False)


@frozen(kw_only=True)
class DeliveryRow:
    """
    The delivery of one event to one receiver.

    @ivar event: its kind.
    """

    delivery_id: str
    webhook: str
    instance: str
    call_id: str
    number: int
    event: str
    body: str = field(repr=False)
    created_at: float
    state: str = PENDING
    attempts: int = 0
    next_try_at: float = 0.0
    last_error: str = ""
    generation: str = ""


@frozen(kw_only=True)
class StoredCall:
    """A call's row and its turns as JSON, in their order."""

    row: CallRow
    transcript: Sequence[Mapping[str, Any]] = field(repr=False)


def opened_row(call: CallFacts, whose: Whose, record: Mapping[str, object]) -> CallRow:
    """
    Return the row of a call that has just begun.

    @param record: C{call} as JSON.
    """
    return CallRow(
        call_id=call.call_id,
        instance=whose.instance,
        generation=whose.generation,
        state=LIVE,
        carrier=call.carrier,
        direction=call.direction,
        agent=call.agent_profile,
        caller=call.caller,
        called=call.called,
        started_at=call.started_at,
        recording=call.recording,
        recording_fault=call.recording_fault,
        record=record,
    )


def columns(row: AttrsInstance) -> dict[str, Any]:
    """Return the columns of a row, as in the table and in JSON."""
    return asdict(row, recurse=False)


def chronological(
    transcript: Sequence[Mapping[str, object]],
) -> list[Mapping[str, Any]]:
    """Sort turns by their start; numbers are in the order in which they were known."""
    return sorted(
        transcript,
        key=lambda turn: (turn.get("started") or 0.0, turn.get("number") or 0),
    )


def stored_call_json(call: StoredCall) -> dict[str, Any]:
    return {**columns(call.row), "transcript": chronological(call.transcript)}
