"""Lists calls, live and past, page by page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from attrs import fields

from chime_gateway.call.call import Call
from chime_gateway.http.api.api_request import ApiContext, ApiRequest
from chime_gateway.http.api.elsewhere import OlderCalls
from chime_gateway.http.api.entry import READING, Answer, Entry, Reply
from chime_gateway.http.api.live_call import live_call
from chime_gateway.http.api.problem import Problem
from chime_gateway.http.api.schema import CALL, CALL_ID, UNANSWERED, Schema, text_schema
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import CallRow, columns
from chime_gateway.store.tables import LIVE, OVER

_DEFAULT_LIMIT: Final = 50

#: The limit of a plausible time, in Unix seconds.
_END_OF_TIME: Final = 1e15

_PAGE: Final = Schema(
    "CallPage",
    {
        "type": "object",
        "properties": {
            "calls": {"type": "array", "items": CALL.reference},
            "next": {
                "type": ["string", "null"],
                "description": "The cursor of the next page; null on the last page.",
            },
            "unanswered": UNANSWERED,
        },
        "required": ["calls", "next"],
    },
    uses=(CALL,),
)


async def _list(asked: ApiRequest) -> Answer:
    context, given = asked.context, dict(asked.query)
    limit = int(given.pop("limit", _DEFAULT_LIMIT))
    cursor = given.pop("cursor", None)
    for name in ("caller", "called"):
        if name in given:
            given[name] = context.guard.guard(given[name])
    query = CallQuery(
        **given,
        before=None if cursor is None else _read_cursor(cursor),
        limit=limit + 1,
    )
    theirs = await context.elsewhere.live()
    live = _live(context, theirs)
    records = context.records
    if records is None or query.state == LIVE:
        rows = _live_rows(query, live)
    else:
        # For calls in progress, memory has more recent facts than the store.
        rows = [
            live[row.call_id]() if row.call_id in live else row
            for row in await asked.stored(records.calls, query)
        ]
    page = [_summary(row) for row in rows[:limit]]
    next_cursor = _cursor(rows[limit - 1]) if len(rows) > limit else None
    answer: dict[str, Any] = {"calls": page, "next": next_cursor}
    if theirs.unanswered:
        answer["unanswered"] = list(theirs.unanswered)
    return answer


def _live(context: ApiContext, theirs: OlderCalls) -> dict[str, Callable[[], CallRow]]:
    """Return the calls in progress, here and at older processes, by call id."""
    rows = list(map(_row_of_another, theirs.rows))
    return {
        **{row.call_id: partial(_as_it_is, row) for row in rows if row is not None},
        **{
            call.record.call_id: partial(_row_of, context, call)
            for call in context.calls.calls()
        },
    }


def _row_of_another(values: Mapping[str, Any]) -> CallRow | None:
    """
    Return the row of another process, whose program may be older or newer; C{None} if
    required values are missing.
    """
    known = {attribute.name for attribute in fields(CallRow)}
    try:
        return CallRow(**{name: v for name, v in values.items() if name in known})
    except TypeError:
        return None


def _as_it_is(row: CallRow) -> CallRow:
    return row


def _row_of(context: ApiContext, call: Call) -> CallRow:
    return live_call(context, call).row


def _live_rows(
    query: CallQuery, live: Mapping[str, Callable[[], CallRow]]
) -> list[CallRow]:
    """Filter the calls in progress, without the store."""
    rows = [row() for row in live.values()]
    found = [
        row
        for row in rows
        if query.carrier in ("", row.carrier)
        and query.direction in ("", row.direction)
        and query.agent in ("", row.agent)
        and query.caller in ("", row.caller)
        and query.called in ("", row.called)
        and not query.outcome
        and query.state != OVER
        and (query.since is None or row.started_at >= query.since)
        and (query.until is None or row.started_at < query.until)
        and (query.before is None or _position(row) < query.before)
    ]
    found.sort(key=_position, reverse=True)
    return found[: query.limit]


def _position(row: CallRow) -> tuple[float, str]:
    return row.started_at, row.call_id


def _summary(row: CallRow) -> dict[str, Any]:
    return {name: value for name, value in columns(row).items() if name != "record"}


def _cursor(row: CallRow) -> str:
    return base64.urlsafe_b64encode(json.dumps(_position(row)).encode()).decode()


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        at, call_id = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, TypeError, RecursionError) as exc:
        raise Problem(404, "that is not a cursor of this API") from exc
    # A forged cursor must not reach the database: no unpaired surrogate, no NaN.
    is_time = type(at) in (int, float) and abs(at) < _END_OF_TIME
    if not is_time or type(call_id) is not str or not re.fullmatch(CALL_ID, call_id):
        raise Problem(400, "this cursor does not name a call")
    return float(at), call_id


LIST_CALLS: Final = Entry(
    method="GET",
    path="calls",
    operation="listCalls",
    summary="Calls, live and past, newest first.",
    run=_list,
    query={
        "state": {"type": "string", "enum": [LIVE, OVER]},
        "carrier": text_schema(32),
        "direction": {"type": "string", "enum": ["inbound", "outbound"]},
        "agent": text_schema(100),
        "outcome": text_schema(40),
        "caller": text_schema(300),
        "called": text_schema(300),
        "since": {"type": "number", "description": "Unix seconds."},
        "until": {"type": "number", "description": "Unix seconds."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 500},
        "cursor": {"type": "string", "pattern": r"^[0-9A-Za-z_=-]{1,200}$"},
    },
    reply=Reply(description="A page of calls.", schema=_PAGE, has_calls=True),
    problems=READING,
)
