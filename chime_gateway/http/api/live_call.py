"""
A call in progress in the shape in which the store has those that are over.
"""

from __future__ import annotations

from attrs import evolve

from chime_gateway.call.call import Call
from chime_gateway.call.reports.event_json import live_call_json, turn_json
from chime_gateway.http.api.asked import ApiContext
from chime_gateway.store.rows import CallRow, StoredCall
from chime_gateway.store.tables import LIVE


def live_call(context: ApiContext, call: Call) -> StoredCall:
    """As it will be written down."""
    live = call.snapshot()
    facts = context.guard.guard_record(live.call)
    live = evolve(live, call=facts)
    answered = facts.answered_seconds
    row = CallRow(
        call_id=facts.call_id,
        instance=context.instance,
        state=LIVE,
        carrier=facts.carrier,
        direction=facts.direction,
        agent=facts.agent_profile,
        caller=facts.caller,
        called=facts.called,
        started_at=facts.started_at,
        answered_at=None if answered is None else facts.started_at + answered,
        duration_seconds=facts.duration_seconds,
        recording=facts.recording,
        recording_fault=facts.recording_fault,
        record=live_call_json(live),
    )
    return StoredCall(row=row, transcript=[turn_json(t) for t in live.transcript])
