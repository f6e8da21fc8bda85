"""Places a call."""

from __future__ import annotations

import re
from typing import Any, Final

from chime_gateway.errors import CallInDoubt, CallRefused, NoOutboundRoute, UnknownAgent
from chime_gateway.http.api.asked import Asked
from chime_gateway.http.api.entry import ACTING, Answer, Entry, Reply
from chime_gateway.http.api.idempotency import fingerprint
from chime_gateway.http.api.problem import Problem, header
from chime_gateway.http.api.schema import Schema, text_schema
from chime_gateway.settings.telephone import E164
from chime_gateway.settings.tools import object_schema

#: Until there is room, perhaps.
_RETRY_AFTER: Final = "5"

_KEY: Final = r"^[0-9A-Za-z_-]{1,100}$"

_REQUEST: Final = Schema(
    "Originate",
    object_schema(
        ("to",),
        to={
            "type": "string",
            "pattern": f"^{E164}$",
            "description": "The number to call.",
        },
        agent=text_schema(100, description="Who talks. Left out: the default agent."),
        via={
            "type": "string",
            "enum": ["trunk", "application"],
            "description": "The SIP trunk, or the SIP media application. Left out:"
            " the trunk if there is one.",
        },
        parameters={
            "type": "object",
            "maxProperties": 10,
            "additionalProperties": text_schema(200),
            "description": "Come back with the call, for templates and records.",
        },
    ),
)
_ORIGINATED: Final = Schema(
    "Originated",
    {
        "type": "object",
        "properties": {
            "call_id": {
                "type": ["string", "null"],
                "description": "Not known yet for calls of the application.",
            },
            "transaction_id": {"type": ["string", "null"]},
            "via": {"type": "string"},
        },
        "required": ["call_id", "via"],
    },
)


async def _originate(asked: Asked) -> Answer:
    context, body = asked.context, asked.body
    key = header(asked.request, "idempotency-key")
    if key and not re.fullmatch(_KEY, key):
        raise Problem(422, "Idempotency-Key: letters, digits, _ and - only")
    via, parameters = body.get("via", ""), body.get("parameters", {})
    agent = body.get("agent", "default")

    async def place() -> dict[str, Any]:
        if agent not in context.calls.roster.agents:
            raise UnknownAgent(f"there is no agent {agent!r}")
        return await context.originate(body["to"], agent, via, parameters)

    try:
        if not key:
            return await place()
        same = fingerprint(context.token, body)
        return await context.keys.answer(key, same, place)
    except UnknownAgent as exc:
        raise Problem(404, str(exc)) from exc
    except NoOutboundRoute as exc:
        raise Problem(409, str(exc)) from exc
    except CallInDoubt as exc:
        raise Problem(
            503, f"it is not known whether the call was placed: {exc}"
        ) from exc
    except CallRefused as exc:
        raise Problem(503, str(exc), Retry_After=_RETRY_AFTER) from exc


ORIGINATE: Final = Entry(
    method="POST",
    path="calls",
    operation="originate",
    summary="Call somebody and let an agent talk.",
    run=_originate,
    body=_REQUEST,
    headers=(
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": _KEY},
            "description": "The same key places one call only, for 24 hours. While it"
            " is being placed, or nobody knows whether it was: 409. With another"
            " request: 422.",
        },
    ),
    reply=Reply(status=202, description="It is being placed.", schema=_ORIGINATED),
    problems=(*ACTING, 503),
)
