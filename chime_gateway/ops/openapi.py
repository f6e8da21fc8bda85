"""
The API's description (OpenAPI 3.1), and the schemas that requests are held to.
"""

from __future__ import annotations

from typing import Any, Final

from chime_gateway import __version__
from chime_gateway.telephone import E164

#: No control characters: they mean nothing in any of these.
_TEXT: Final = r"^[^\x00-\x1f\x7f]*$"
_SPOKEN: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
CALL_ID: Final = r"^[0-9A-Za-z_-]{1,64}$"

_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}


def _text(most: int, **more: Any) -> dict[str, Any]:
    return {"type": "string", "pattern": _TEXT, "maxLength": most, **more}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_SENTENCE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 4000,
    "pattern": _SPOKEN,
}

SCHEMAS: Final[dict[str, Any]] = {
    "Originate": _object(
        ("to",),
        to={
            "type": "string",
            "pattern": f"^{E164}$",
            "description": "The number to call.",
        },
        agent=_text(100, description="Who talks. Left out: the default agent."),
        via={
            "type": "string",
            "enum": ["trunk", "application"],
            "description": "The SIP trunk, or the SIP media application. Left out:"
            " the trunk if there is one.",
        },
        parameters={
            "type": "object",
            "maxProperties": 10,
            "additionalProperties": _text(200),
            "description": "Come back with the call, for templates and records.",
        },
    ),
    "HangUp": _object(
        reason=_text(200),
        farewell={
            "type": "boolean",
            "description": "Let the agent say goodbye first.",
        },
    ),
    "Transfer": _object(
        ("target",),
        target=_text(
            200,
            minLength=1,
            description="A target of the call's agent, a number, or a sip or tel URI.",
        ),
    ),
    "Say": _object(("text",), text=_SENTENCE),
    "Instruct": _object(
        ("text",),
        text=_SENTENCE,
        respond={
            "type": "boolean",
            "description": "Let the agent speak to it at once.",
        },
    ),
    "Digits": _object(
        ("digits",), digits={"type": "string", "pattern": r"^[0-9A-D*#]{1,32}$"}
    ),
    "Recording": _object(
        ("action",), action={"type": "string", "enum": ["pause", "resume"]}
    ),
    "Problem": {
        "type": "object",
        "description": "RFC 9457.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
        "required": ["type", "title", "status"],
    },
    "Done": _object(
        ("call_id", "done"), call_id={"type": "string"}, done={"type": "string"}
    ),
    "Originated": {
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
    "Call": {
        "type": "object",
        "properties": {
            "call_id": {"type": "string"},
            "state": {"type": "string", "enum": ["live", "ended"]},
            "instance": {"type": "string"},
            "carrier": {"type": "string"},
            "direction": {"type": "string"},
            "agent": {"type": "string"},
            "caller": {"type": "string"},
            "called": {"type": "string"},
            "started_at": {"type": "number"},
            "answered_at": {"type": ["number", "null"]},
            "ended_at": {"type": ["number", "null"]},
            "duration_seconds": {"type": ["number", "null"]},
            "outcome": {"type": ["string", "null"]},
            "reason": {"type": ["string", "null"]},
            "recording": {"type": "string"},
            "recording_fault": {"type": "string"},
        },
        "required": ["call_id", "state", "carrier", "started_at"],
    },
    "CallDetail": {
        "allOf": [
            {"$ref": "#/components/schemas/Call"},
            {
                "type": "object",
                "properties": {
                    "record": {"type": "object"},
                    "transcript": {"type": "array", "items": {"type": "object"}},
                },
                "required": ["record", "transcript"],
            },
        ]
    },
    "CallPage": {
        "type": "object",
        "properties": {
            "calls": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Call"},
            },
            "next": {
                "type": ["string", "null"],
                "description": "The cursor of the next page.",
            },
        },
        "required": ["calls", "next"],
    },
    "Agents": {
        "type": "object",
        "properties": {"agents": {"type": "array", "items": {"type": "object"}}},
        "required": ["agents"],
    },
}

#: Query parameters of the list of calls.
LIST_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "state": {"type": "string", "enum": ["live", "ended"]},
    "carrier": _text(32),
    "direction": {"type": "string", "enum": ["inbound", "outbound"]},
    "agent": _text(100),
    "outcome": _text(40),
    "caller": _text(300),
    "called": _text(300),
    "since": {"type": "number", "description": "Unix seconds."},
    "until": {"type": "number", "description": "Unix seconds."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 500},
    "cursor": {"type": "string", "pattern": r"^[0-9A-Za-z_=-]{1,200}$"},
}
EVENT_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "call_id": {"type": "string", "pattern": CALL_ID},
    "after": {
        "type": "integer",
        "minimum": 0,
        "description": "Begin behind this event; Last-Event-ID does the same.",
    },
}


def _answer(text: str, schema: str, kind: str = "application/json") -> dict[str, Any]:
    ref = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": text, "content": {kind: {"schema": ref}}}


def _problems(*statuses: int) -> dict[str, Any]:
    texts = {
        400: "The request cannot be understood.",
        401: "No token, or a wrong one.",
        403: "The API is shut: CHIMEGW_ADMIN_TOKEN is not set.",
        404: "There is no such call, agent, recording or page.",
        409: "It cannot be, as the call or the gateway is.",
        413: "The request is too large.",
        415: "The request is not JSON.",
        422: "The request does not fit the schema.",
        429: "Too many listeners.",
        503: "The store cannot be read now, or the call cannot be placed.",
    }
    return {
        str(status): {
            "description": texts[status],
            "content": {"application/problem+json": {"schema": _PROBLEM}},
        }
        for status in statuses
    }


def _parameters(schemas: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in schemas.items()
    ]


_ID: Final = {
    "name": "call_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": CALL_ID},
}


#: What can be done with the calls of a page.
_LINKS: Final = {
    operation: {
        "operationId": operation,
        "parameters": {"call_id": "$response.body#/calls/0/call_id"},
    }
    for operation in (
        *("showCall", "getRecording", "hangUp", "transfer", "say", "instruct"),
        *("pressDigits", "record"),
    )
}


def _act(summary: str, schema: str, operation: str) -> dict[str, Any]:
    ref = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            "parameters": [_ID],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": ref}},
            },
            "responses": {
                "200": _answer("It was done.", "Done"),
                **_problems(400, 401, 403, 404, 409, 413, 415, 422),
            },
        }
    }


def description() -> dict[str, Any]:
    """The whole document."""
    wav = {"type": "string", "format": "binary"}
    read = _problems(401, 403, 404, 422, 503)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chime-gateway",
            "version": __version__,
            "description": "Calls of one gateway: see them, act on them, place them.",
        },
        "security": [{"adminToken": []}],
        "paths": {
            "/api/calls": {
                "get": {
                    "operationId": "listCalls",
                    "summary": "Calls, live and past, newest first.",
                    "parameters": _parameters(LIST_PARAMETERS),
                    "responses": {
                        "200": {**_answer("A page.", "CallPage"), "links": _LINKS},
                        **read,
                    },
                },
                "post": {
                    "operationId": "originate",
                    "summary": "Call somebody and let an agent talk.",
                    "parameters": [
                        {
                            "name": "Idempotency-Key",
                            "in": "header",
                            "required": False,
                            "schema": {
                                "type": "string",
                                "pattern": r"^[0-9A-Za-z_-]{1,100}$",
                            },
                            "description": "The same key places one call only.",
                        }
                    ],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/Originate"}
                            }
                        },
                    },
                    "responses": {
                        "202": _answer("It is being placed.", "Originated"),
                        **_problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
                    },
                },
            },
            "/api/calls/{call_id}": {
                "get": {
                    "operationId": "showCall",
                    "summary": "One call with its transcript.",
                    "parameters": [_ID],
                    "responses": {"200": _answer("The call.", "CallDetail"), **read},
                }
            },
            "/api/calls/{call_id}/audio": {
                "get": {
                    "operationId": "getRecording",
                    "summary": "The recording, if it is on the gateway's machine.",
                    "parameters": [_ID],
                    "responses": {
                        "200": {
                            "description": "Caller left, agent right.",
                            "content": {"audio/wav": {"schema": wav}},
                        },
                        **read,
                    },
                }
            },
            "/api/calls/{call_id}/hang-up": _act("End the call.", "HangUp", "hangUp"),
            "/api/calls/{call_id}/transfer": _act(
                "Hand the caller on.", "Transfer", "transfer"
            ),
            "/api/calls/{call_id}/say": _act(
                "Have the agent say a text, word for word.", "Say", "say"
            ),
            "/api/calls/{call_id}/instruct": _act(
                "Give the agent an order.", "Instruct", "instruct"
            ),
            "/api/calls/{call_id}/digits": _act("Press keys.", "Digits", "pressDigits"),
            "/api/calls/{call_id}/recording": _act(
                "Pause the recording, or go on with it.", "Recording", "record"
            ),
            "/api/agents": {
                "get": {
                    "operationId": "listAgents",
                    "summary": "The agents there are, and what they may do.",
                    "responses": {
                        "200": _answer("All of them.", "Agents"),
                        **_problems(401, 403),
                    },
                }
            },
            "/api/events": {
                "get": {
                    "operationId": "liveEvents",
                    "summary": "What happens in calls, as server-sent events.",
                    "parameters": _parameters(EVENT_PARAMETERS),
                    "responses": {
                        "200": {
                            "description": "A stream that does not end.",
                            "content": {
                                "text/event-stream": {"schema": {"type": "string"}}
                            },
                        },
                        **_problems(401, 403, 422, 429),
                    },
                }
            },
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"adminToken": {"type": "http", "scheme": "bearer"}},
        },
    }
