"""Shared JSON Schemas of the API's requests and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from chime_gateway.settings.tools import object_schema

#: No control characters: they have no meaning in any of these fields.
_TEXT: Final = r"^[^\x00-\x1f\x7f]*$"
_SPOKEN: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
CALL_ID: Final = r"^[0-9A-Za-z_-]{1,64}$"


@frozen
class Schema:
    """
    A schema that has a name in the OpenAPI description.

    @ivar uses: the schemas that it refers to.
    """

    name: str
    definition: Mapping[str, Any]
    uses: tuple[Schema, ...] = ()

    @property
    def reference(self) -> dict[str, str]:
        return {"$ref": f"#/components/schemas/{self.name}"}


def text_schema(most: int, **more: object) -> dict[str, Any]:
    return {"type": "string", "pattern": _TEXT, "maxLength": most, **more}


#: What an agent is to say, or an instruction for it.
SENTENCE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 4000,
    "pattern": _SPOKEN,
}

PROBLEM: Final = Schema(
    "Problem",
    {
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
)

DONE: Final = Schema(
    "Done",
    object_schema(
        ("call_id", "done"), call_id={"type": "string"}, done={"type": "string"}
    ),
)

UNANSWERED: Final = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Older processes of the gateway that did not answer; their calls"
    " may be missing or out of date.",
}

CALL: Final = Schema(
    "Call",
    {
        "type": "object",
        "properties": {
            "generation": {
                "type": "string",
                "description": "The gateway process that has, or had, the call.",
            },
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
)

_NUMBER_OR_NULL: Final = {"type": ["number", "null"]}
_MILLISECONDS: Final = {"type": ["integer", "null"], "minimum": 0}

#: The result of L{chime_gateway.call.reports.event_json.turn_json}.
TURN: Final = Schema(
    "Turn",
    {
        "type": "object",
        "description": "One turn of the transcript. Times are in seconds since the"
        " start of the call.",
        "properties": {
            "number": {"type": "integer"},
            "speaker": {
                "type": "string",
                "enum": ["caller", "agent", "keypad", "tool", "note"],
            },
            "started": {"type": "number"},
            "ended": _NUMBER_OR_NULL,
            "text": {"type": "string"},
            "interrupted": {
                "type": "boolean",
                "description": "Agent turns: the caller did not hear the end.",
            },
            "heard_ms": {
                **_MILLISECONDS,
                "description": "Agent turns: how much audio the caller heard.",
            },
            "spoken_ms": {
                **_MILLISECONDS,
                "description": "Agent turns: how much audio there was.",
            },
            "heard_text": {
                "type": "string",
                "description": "Agent turns: the part of the text that was heard.",
            },
            "name": {"type": "string", "description": "Tool calls: the tool's name."},
            "arguments": {"type": "string", "description": "Tool calls: JSON."},
            "result": {"type": "string", "description": "Tool calls: the result."},
            "fault": {
                "type": "string",
                "description": "Tool calls: why there is no result; empty if there is"
                " one.",
            },
            "seconds": {
                "type": "number",
                "description": "Tool calls: how long the tool took.",
            },
        },
        "required": ["number", "speaker", "started", "ended", "text"],
    },
)
