"""Places a call."""

from __future__ import annotations

import re
from typing import Any, Final

from chime_gateway.errors import CallInDoubt, CallRefused, NoOutboundRoute, UnknownAgent
from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import ACTING, Answer, Entry, Reply
from chime_gateway.http.api.idempotency import fingerprint
from chime_gateway.http.api.problem import Problem, header
from chime_gateway.http.api.schema import Schema, text_schema
from chime_gateway.settings.telephone import E164
from chime_gateway.settings.tools import object_schema

#: In seconds; by then there may be capacity again.
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
        agent=text_schema(100, description="The agent profile. Default: default."),
        via={
            "type": "string",
            "enum": ["trunk", "application"],
            "description": "The SIP trunk, or the SIP media application. Default:"
            " the trunk if there is one.",
        },
        parameters={
            "type": "object",
            "maxProperties": 10,
            "additionalProperties": text_schema(200),
            "description": "Parameters of the call, for templates and records.",
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
                "description": "Null for calls by the SIP media application: their id"
                " is not known yet.",
            },
            "transaction_id": {"type": ["string", "null"]},
            "via": {"type": "string"},
        },
        "required": ["call_id", "via"],
    },
)


async def _originate(asked: ApiRequest) -> Answer:
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
    summary="Place an outbound call and connect it to an agent.",
    run=_originate,
    body=_REQUEST,
    headers=(
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": _KEY},
            "description": "Within 24 hours, requests with the same key place only one"
            " call. 409: the call is being placed, or it is not known whether it was"
            " placed. 422: the key was used for another request.",
        },
    ),
    reply=Reply(
        status=202, description="The call is being placed.", schema=_ORIGINATED
    ),
    problems=(*ACTING, 503),
)
