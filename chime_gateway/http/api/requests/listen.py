"""Streams the events of calls as they happen."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, Entry, Reply
from chime_gateway.http.api.problem import Problem, header
from chime_gateway.http.api.schema import CALL_ID


async def _listen(asked: ApiRequest) -> Answer:
    request, given = asked.request, asked.query
    events = asked.context.events
    if events.is_full:
        raise Problem(429, "there are too many listeners")
    after = given.get("after")
    # The header wins: a browser that reconnects requests the same URL again, with an
    # older id in the query.
    if last := header(request, "last-event-id"):
        is_id = last.isascii() and last.isdecimal() and len(last) < 20
        after = int(last) if is_id else 0
    events.listen(request, given.get("call_id", ""), after)
    return None


LISTEN: Final = Entry(
    method="GET",
    path="events",
    operation="liveEvents",
    summary="The events of calls, as server-sent events.",
    run=_listen,
    query={
        "call_id": {"type": "string", "pattern": CALL_ID},
        "after": {
            "type": "integer",
            "minimum": 0,
            "description": "Begin after this event; Last-Event-ID does the same.",
        },
    },
    reply=Reply(
        description="A stream that does not end.",
        kind="text/event-stream",
        schema={"type": "string"},
    ),
    problems=(400, 401, 403, 422, 429),
)
