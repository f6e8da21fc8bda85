"""Shows a call in progress in the form of a stored call."""

from __future__ import annotations

from attrs import evolve

from chime_gateway.call.call import Call
from chime_gateway.call.reports.event_json import live_call_json, turn_json
from chime_gateway.http.api.api_request import ApiContext
from chime_gateway.store.rows import StoredCall, opened_row


def live_call(context: ApiContext, call: Call) -> StoredCall:
    """Return a call in progress as it will be stored."""
    live = context.guard.guard_live(call.snapshot())
    facts = live.call
    row = evolve(
        opened_row(facts, context.whose, live_call_json(live)),
        answered_at=facts.answered_at,
        duration_seconds=facts.duration_seconds,
    )
    return StoredCall(row=row, transcript=[turn_json(t) for t in live.transcript])
