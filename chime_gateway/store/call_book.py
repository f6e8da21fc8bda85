"""
Turns the events of calls into entries for the store: records, turns, and webhook
deliveries.

Numbers are stored as configured: plain, masked, or hashed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from chime_gateway.call.reports.event_json import payload_json
from chime_gateway.call.reports.events import (
    CallAnswered,
    CallEnded,
    CallEvent,
    CallFacts,
    CallStarted,
    TurnCompleted,
    TurnFacts,
)
from chime_gateway.settings.values import WebhookSettings
from chime_gateway.store.entries import ANSWERED, CLOSED, DELIVERY, OPENED, TURN, Entry
from chime_gateway.store.numbers import CallNumbers, NumberGuard
from chime_gateway.store.rows import (
    CallRow,
    DeliveryRow,
    TurnRow,
    Whose,
    columns,
    opened_row,
)
from chime_gateway.store.tables import OVER

#: The outcome of a call whose gateway was lost during the call.
GATEWAY_LOST = "gateway_lost"

#: The sizes of columns of the table of calls, in characters.
_LONGEST_AGENT: Final = 200
_LONGEST_NUMBER: Final = 300


class CallBook:
    """
    Turns the events of calls into entries.

    @param put: takes entries.
    """

    def __init__(
        self,
        whose: Whose,
        guard: NumberGuard,
        webhooks: Sequence[WebhookSettings],
        put: Callable[[Entry], None],
    ) -> None:
        self._whose = whose
        self._webhooks = webhooks
        self._put = put
        self._numbers = CallNumbers(guard)

    def happened(self, event: CallEvent) -> None:
        payload = self._numbers.shown(event)
        data = payload_json(payload)
        match payload:
            case CallStarted(call):
                row = self._row(call, data)
                self._put((OPENED, columns(row)))
            case CallAnswered(call):
                answered = {
                    "call_id": event.call_id,
                    "answered_at": event.at,
                    "recording": call.recording,
                    "record": data,
                }
                self._put((ANSWERED, answered))
            case TurnCompleted(turn):
                self._put((TURN, columns(_turn_row(event.call_id, turn, data))))
            case CallEnded():
                self._put((CLOSED, self._closed(event, payload, data)))
        notice = Notice(event.kind, event.call_id, event.number, event.at, data)
        for entry in deliveries(self._webhooks, self._whose, notice):
            self._put(entry)

    def _closed(
        self, event: CallEvent, ended: CallEnded, data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the row of a call that has ended, with its turns."""
        record = dict(data)
        documents = record.pop("transcript")
        call = ended.call
        row = evolve(
            self._row(call, record),
            state=OVER,
            answered_at=call.answered_at,
            ended_at=event.at,
            duration_seconds=call.duration_seconds,
            outcome=call.outcome,
            reason=call.reason,
        )
        turns = [
            columns(_turn_row(event.call_id, turn, document))
            for turn, document in zip(ended.transcript, documents, strict=True)
        ]
        return {**columns(row), "turns": turns}

    def _row(self, call: CallFacts, record: Mapping[str, object]) -> CallRow:
        row = opened_row(call, self._whose, record)
        return evolve(
            row,
            agent=row.agent[:_LONGEST_AGENT],
            caller=row.caller[:_LONGEST_NUMBER],
            called=row.called[:_LONGEST_NUMBER],
        )


def _turn_row(call_id: str, turn: TurnFacts, document: Mapping[str, object]) -> TurnRow:
    return TurnRow(
        call_id=call_id,
        number=turn.number,
        speaker=turn.speaker,
        started=turn.started,
        turn=document,
    )


@frozen
class Notice:
    """
    An event for the receivers of webhooks.

    @ivar at: Unix seconds.
    @ivar data: the event's payload as JSON, with numbers as configured.
    """

    kind: str
    call_id: str
    number: int
    at: float
    data: Mapping[str, Any] = field(repr=False)


def deliveries(
    webhooks: Sequence[WebhookSettings], whose: Whose, notice: Notice
) -> list[Entry]:
    """Return the deliveries of an event: one for each webhook that wants it."""
    hooks = [hook for hook in webhooks if notice.kind in hook.events]
    if not hooks:
        return []
    document = {
        "type": notice.kind,
        "timestamp": notice.at,
        "call_id": notice.call_id,
        "number": notice.number,
        "data": notice.data,
    }
    body = json.dumps(document, separators=(",", ":"))
    rows = [
        DeliveryRow(
            # The same event for the same webhook is the same delivery.
            delivery_id=f"{notice.call_id}.{notice.number}.{hook.name}",
            webhook=hook.name,
            instance=whose.instance,
            generation=whose.generation,
            call_id=notice.call_id,
            number=notice.number,
            event=notice.kind,
            body=body,
            created_at=notice.at,
        )
        for hook in hooks
    ]
    return [(DELIVERY, columns(row)) for row in rows]


def lost_row(row: CallRow, why: str, last: float) -> CallRow:
    """
    Return the row of a call that was not closed, made from its stored row.

    @param last: the last time at which the call is known to have been in progress.
    """
    duration = round(max(0.0, last - row.started_at), 3)
    return evolve(
        row,
        state=OVER,
        ended_at=last,
        duration_seconds=duration,
        outcome=GATEWAY_LOST,
        reason=why,
        record={
            **row.record,
            "outcome": GATEWAY_LOST,
            "reason": why,
            "duration_seconds": duration,
        },
    )
