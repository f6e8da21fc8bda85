"""Shows one call."""

from __future__ import annotations

from typing import Final

from chime_gateway.errors import NoSuchCall
from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import READING, Answer, Entry, Reply
from chime_gateway.http.api.live_call import live_call
from chime_gateway.http.api.schema import CALL, TURN, UNANSWERED, Schema
from chime_gateway.store.rows import stored_call_json
from chime_gateway.store.tables import LIVE

_DETAIL: Final = Schema(
    "CallDetail",
    {
        "allOf": [
            CALL.reference,
            {
                "type": "object",
                "properties": {
                    "record": {"type": "object"},
                    "transcript": {"type": "array", "items": TURN.reference},
                    "unanswered": UNANSWERED,
                },
                "required": ["record", "transcript"],
            },
        ]
    },
    uses=(CALL, TURN),
)


async def _show(asked: ApiRequest) -> Answer:
    try:
        call = live_call(asked.context, asked.context.calls.call(asked.call_id))
    except NoSuchCall:
        call = await asked.stored_call()
    shown = stored_call_json(call)
    if call.row.state == LIVE and call.row.generation in asked.unanswered:
        shown["unanswered"] = [call.row.generation]
    return shown


SHOW_CALL: Final = Entry(
    method="GET",
    path="calls/{call_id}",
    operation="showCall",
    summary="One call with its transcript.",
    run=_show,
    reply=Reply(description="The call.", schema=_DETAIL),
    problems=READING,
)
