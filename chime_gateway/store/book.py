"""
What is written down of a call: its record, its turns, and who is to be told.

It turns events of calls into entries for the keeper; numbers are kept as the
operator wants them.  How entries get into a database is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from chime_gateway.call import events
from chime_gateway.call.events import CallEvent
from chime_gateway.settings import WebhookSettings
from chime_gateway.store.database import (
    ANSWERED,
    CLOSED,
    DELIVERY,
    OPENED,
    TURN,
    Entry,
)
from chime_gateway.store.numbers import NumberGuard
from chime_gateway.store.tables import LIVE, OVER, PENDING

#: The outcome of a call whose gateway went away in the middle of it.
GATEWAY_LOST = "gateway_lost"

#: What the table of calls has room for, in characters.
_LONGEST_AGENT: Final = 200
_LONGEST_NUMBER: Final = 300


class CallBook:
    """
    Listens to what happens in calls.

    @param put: takes entries.
    """

    def __init__(
        self,
        instance: str,
        guard: NumberGuard,
        webhooks: Sequence[WebhookSettings],
        put: Callable[[Entry], None],
    ) -> None:
        self._instance = instance
        self._guard = guard
        self._webhooks = webhooks
        self._put = put
        self._numbers: dict[str, frozenset[str]] = {}

    def happened(self, event: CallEvent) -> None:
        data = self._guarded(event)
        if event.kind == events.STARTED:
            self._put((OPENED, self._row(event.call_id, data, LIVE)))
        elif event.kind == events.ANSWERED:
            answered = {
                "call_id": event.call_id,
                "answered_at": event.at,
                "recording": data["recording"],
                "record": data,
            }
            self._put((ANSWERED, answered))
        elif event.kind == events.TURN:
            self._put((TURN, turn_row(event.call_id, data)))
        elif event.kind == events.ENDED:
            self._put((CLOSED, self.closed(event.call_id, data, event.at)))
            self._numbers.pop(event.call_id, None)
        for entry in deliveries(self._webhooks, self._instance, event, data):
            self._put(entry)

    def closed(
        self, call_id: str, data: Mapping[str, Any], ended_at: float
    ) -> dict[str, Any]:
        """The row of a call that is over, and its turns."""
        record = {name: value for name, value in data.items() if name != "transcript"}
        row = self._row(call_id, record, OVER)
        answered = record.get("answered_seconds")
        started = record["started_at"]
        row.update(
            answered_at=None if answered is None else started + answered,
            ended_at=ended_at,
            duration_seconds=record["duration_seconds"],
            outcome=record["outcome"],
            reason=record["reason"],
            recording_fault=record["recording_fault"],
            turns=[turn_row(call_id, turn) for turn in data.get("transcript", ())],
        )
        return row

    def _row(
        self, call_id: str, record: Mapping[str, Any], state: str
    ) -> dict[str, Any]:
        return {
            "call_id": call_id,
            "instance": self._instance,
            "state": state,
            "carrier": record["carrier"],
            "direction": record["direction"],
            "agent": record["agent_profile"][:_LONGEST_AGENT],
            "caller": record["caller"][:_LONGEST_NUMBER],
            "called": record["called"][:_LONGEST_NUMBER],
            "started_at": record["started_at"],
            "recording": record["recording"],
            "recording_fault": record["recording_fault"],
            "record": dict(record),
        }

    def _guarded(self, event: CallEvent) -> dict[str, Any]:
        data = dict(event.data)
        if event.kind == events.STARTED:
            own = {str(data["caller"]), str(data["called"])}
            self._numbers[event.call_id] = frozenset(own - {""})
        if "caller" in data:
            data = self._guard.guard_record(data)
        own_numbers = self._numbers.get(event.call_id, frozenset())
        guarded: dict[str, Any] = self._guard.guard_event(data, own_numbers)
        return guarded


def turn_row(call_id: str, turn: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "number": turn["number"],
        "speaker": turn["speaker"],
        "started": turn["started"],
        "turn": dict(turn),
    }


def deliveries(
    webhooks: Sequence[WebhookSettings],
    instance: str,
    event: CallEvent,
    data: Mapping[str, Any],
) -> list[Entry]:
    """Who is to be told, and what."""
    found: list[Entry] = []
    for hook in webhooks:
        if event.kind not in hook.events:
            continue
        body = {
            "type": event.kind,
            "timestamp": event.at,
            "call_id": event.call_id,
            "number": event.number,
            "data": dict(data),
        }
        found.append(
            (
                DELIVERY,
                {
                    # The same event for the same receiver is the same delivery.
                    "delivery_id": f"{event.call_id}.{event.number}.{hook.name}",
                    "webhook": hook.name,
                    "instance": instance,
                    "call_id": event.call_id,
                    "number": event.number,
                    "event": event.kind,
                    "body": json.dumps(body, separators=(",", ":")),
                    "created_at": event.at,
                    "state": PENDING,
                    "attempts": 0,
                    "next_try_at": 0.0,
                    "last_error": "",
                },
            )
        )
    return found


def lost_record(row: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The record of a call that nobody closed, as far as it was written down."""
    record = dict(row["record"])
    record.update(outcome=GATEWAY_LOST, reason=why)
    return record
