"""Streams the events of calls, live."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.asked import Asked
from chime_gateway.http.api.entry import Answer, Entry, Reply
from chime_gateway.http.api.problem import Problem, header
from chime_gateway.http.api.schema import CALL_ID


async def _listen(asked: Asked) -> Answer:
    request, given = asked.request, asked.query
    events = asked.context.events
    if events.is_full:
        raise Problem(429, "too many listen already")
    after = given.get("after")
    # It is younger: a browser that comes back asks for the same address again.
    if last := header(request, "last-event-id"):
        is_id = last.isascii() and last.isdecimal() and len(last) < 20
        after = int(last) if is_id else 0
    events.listen(request, given.get("call_id", ""), after)
    return None


LISTEN: Final = Entry(
    method="GET",
    path="events",
    operation="liveEvents",
    summary="What happens in calls, as server-sent events.",
    run=_listen,
    query={
        "call_id": {"type": "string", "pattern": CALL_ID},
        "after": {
            "type": "integer",
            "minimum": 0,
            "description": "Begin behind this event; Last-Event-ID does the same.",
        },
    },
    reply=Reply(
        description="A stream that does not end.",
        kind="text/event-stream",
        schema={"type": "string"},
    ),
    problems=(400, 401, 403, 422, 429),
)
