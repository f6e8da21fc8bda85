"""Gives an agent an instruction."""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import Answer, act, done
from chime_gateway.http.api.problem import Problem
from chime_gateway.http.api.schema import SENTENCE, Schema
from chime_gateway.settings.tools import object_schema

_REQUEST: Final = Schema(
    "Instruct",
    object_schema(
        ("text",),
        text=SENTENCE,
        respond={
            "type": "boolean",
            "description": "Let the agent respond to it at once.",
        },
    ),
)


async def _instruct(asked: ApiRequest) -> Answer:
    call = await asked.live_call()
    if not call.instruct(asked.body["text"], asked.body.get("respond", False)):
        raise Problem(409, "the call has no agent that can be instructed now")
    return done(asked, "told")


INSTRUCT: Final = act(
    "instruct", "instruct", "Give the agent an instruction.", _REQUEST, _instruct
)
